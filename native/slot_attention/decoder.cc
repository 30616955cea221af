#include "slot_attention/decoder.h"

#include "kernels/products.h"

namespace soundspot::slot_attention {

Decoder::Decoder(std::string name, int64_t rows, int64_t columns, const SlotAttentionConfig& config)
    : name_(std::move(name)),
      rows_(rows),
      columns_(columns),
      dim_(config.dim),
      hidden_(config.decoder_hidden),
      layers_(config.decoder_layers) {}

Decoder Decoder::image(const SlotAttentionConfig& config) {
  const int64_t side = config.image_side;
  return Decoder("img_decoder", side, side, config);
}

Decoder Decoder::audio(const SlotAttentionConfig& config) {
  return Decoder("aud_decoder", 1, config.audio_tokens, config);
}

void Decoder::initialize(core::Initializer& initializer) const {
  initializer.uniform(name_ + ".pos_emb.row_embed.weight", {rows_, dim_ / 2});
  initializer.uniform(name_ + ".pos_emb.col_embed.weight", {columns_, dim_ / 2});
  for (int64_t layer = 0; layer <= layers_; ++layer) {
    const int64_t in = layer == 0 ? dim_ : hidden_;
    const int64_t out = layer == layers_ ? dim_ + 1 : hidden_;
    initializer.linear(name_ + ".mlp." + std::to_string(2 * layer), out, in);
  }
}

Tensor Decoder::forward(const core::Parameters& parameters, const Tensor& slots) const {
  const Tensor& rows = parameters[name_ + ".pos_emb.row_embed.weight"];     // [h, D/2]
  const Tensor& columns = parameters[name_ + ".pos_emb.col_embed.weight"];  // [w, D/2]
  const Tensor position = at::cat({columns.unsqueeze(0).expand({rows_, columns_, dim_ / 2}),
                                   rows.unsqueeze(1).expand({rows_, columns_, dim_ / 2})},
                                  2)
                              .reshape({rows_ * columns_, dim_});
  Tensor x = slots.unsqueeze(2) + position;  // [B, S, N, D]
  for (int64_t layer = 0; layer <= layers_; ++layer) {
    const std::string name = name_ + ".mlp." + std::to_string(2 * layer);
    x = kernels::linear(x, parameters[name + ".weight"], parameters[name + ".bias"]);
    if (layer < layers_) x = at::relu_(x);
  }
  x = x.to(at::kFloat);
  const Tensor features = x.narrow(3, 0, dim_);
  const Tensor alpha = at::softmax(x.narrow(3, dim_, 1), 1);  // [B, S, N, 1], over slots
  return (features * alpha).sum(1);                           // [B, N, D]
}

}  // namespace soundspot::slot_attention
