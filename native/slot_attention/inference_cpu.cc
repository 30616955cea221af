#include "slot_attention/inference_cpu.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/bounds.h"
#include "core/parts.h"
#include "kernels/products.h"

namespace soundspot::slot_attention {

namespace {

constexpr int64_t kPanel = kernels::kPanel;

int64_t padded(int64_t columns) { return (columns + kPanel - 1) / kPanel * kPanel; }

/// Runs `work(branch, begin, end)` over the units of both branches as one range.
template <class Work>
void over_both(int64_t first, int64_t second, const Work& work) {
  core::in_parts(first + second, 1, [&](int64_t begin, int64_t end) {
    if (begin < first) work(0, begin, std::min(end, first));
    if (end > first) work(1, std::max<int64_t>(begin - first, 0), end - first);
  });
}

}  // namespace

PackedLinear::PackedLinear(const Tensor& weight, const Tensor& bias, bool bfloat16) {
  const int64_t out = weight.size(0), in = weight.size(1), panels = padded(out) / kPanel;
  const Tensor whole = at::zeros({panels * kPanel, in}, weight.options().dtype(at::kFloat));
  whole.narrow(0, 0, out).copy_(weight);
  weight_ = whole.view({panels, kPanel, in}).transpose(1, 2).contiguous();
  if (bfloat16) weight_ = weight_.to(at::kBFloat16);
  panels_.in = in;
  panels_.panels = panels;
  if (bfloat16) {
    panels_.half = reinterpret_cast<const kernels::bfloat16_bits*>(weight_.const_data_ptr<at::BFloat16>());
  } else {
    panels_.full = weight_.const_data_ptr<float>();
  }
  if (bias.defined()) {
    bias_ = at::zeros({panels * kPanel}, whole.options());
    bias_.narrow(0, 0, out).copy_(bias);
    panels_.bias = bias_.const_data_ptr<float>();
  }
}

FrozenSlotAttention::FrozenSlotAttention(const core::Parameters& parameters,
                                         const slot_attention::SlotAttentionConfig& config, bool bfloat16)
    : config_(config), bfloat16_(bfloat16) {
  const at::NoGradGuard no_grad;
  for (const core::Parameter& parameter : parameters.all()) {
    if (parameter.name.rfind("slot_attn.", 0) != 0) continue;
    const Tensor& value = parameter.value;
    core::check_weights(value.dim() == 2 ? value : value.reshape({-1, 1}), {}, {}, core::kMostOfLinear, parameter.name);
  }
  image_ = freeze(parameters, "img", "aud");
  audio_ = freeze(parameters, "aud", "img");
}

FrozenSlotAttention::Branch FrozenSlotAttention::freeze(const core::Parameters& parameters, const std::string& own,
                                                        const std::string& other) const {
  // Products of weights are computed in float64: their rounding would enter every pass. That to bfloat16 is far larger.
  const at::ScalarType exact = bfloat16_ ? at::kFloat : at::kDouble;
  const auto of = [&](const std::string& modality, const char* name) {
    return parameters["slot_attn." + modality + "_" + name].detach().to(exact);
  };
  const Tensor query = of(own, "to_q.weight"), norm = of(own, "norm_slots.weight");
  const auto query_on = [&](const std::string& modality) {
    const Tensor product = kernels::product(of(modality, "to_k.weight").t(), query);
    const Tensor offset = at::matmul(of(modality, "to_k.bias"), query);
    return PackedLinear(at::cat({product, offset.unsqueeze(0)}) * norm, {}, bfloat16_);
  };

  Branch branch;
  branch.norm_weight = of(own, "norm_input.weight").to(at::kFloat);
  branch.norm_bias = of(own, "norm_input.bias").to(at::kFloat);
  branch.own_query = query_on(own);
  branch.cross_query = query_on(other);
  branch.query =
      PackedLinear(query * norm, at::mv(query, of(own, "norm_slots.bias")) + of(own, "to_q.bias"), bfloat16_);
  const Tensor input = of(own, "gru.weight_ih");
  branch.input_gates = PackedLinear(kernels::product(input, of(own, "to_v.weight")),
                                    at::mv(input, of(own, "to_v.bias")) + of(own, "gru.bias_ih"), bfloat16_);
  branch.hidden_gates = PackedLinear(of(own, "gru.weight_hh"), of(own, "gru.bias_hh"), bfloat16_);
  const Tensor first = of(own, "mlp.0.weight");
  branch.first = PackedLinear(first * of(own, "norm_pre_ff.weight"),
                              at::mv(first, of(own, "norm_pre_ff.bias")) + of(own, "mlp.0.bias"), bfloat16_);
  branch.second = PackedLinear(of(own, "mlp.2.weight"), of(own, "mlp.2.bias"), bfloat16_);

  const std::string slots = config_.shared_slots ? "slot_attn.slots" : "slot_attn." + own + "_slots";
  branch.slots = parameters[slots].detach().to(at::kFloat).squeeze(0).contiguous();
  const int64_t count = config_.slots(), dim = config_.dim;
  const Tensor normed = at::empty_like(branch.slots);
  branch.initial_query = at::empty({count, branch.own_query.width()}, normed.options());
  branch.initial_hidden_gates = at::empty({count, branch.hidden_gates.width()}, normed.options());
  const kernels::Kernels& run = kernels::kernels();
  for (int64_t s = 0; s < count; ++s) {
    run.layer_norm(branch.slots.const_data_ptr<float>() + s * dim, nullptr, nullptr, dim,
                   normed.mutable_data_ptr<float>() + s * dim);
  }
  const auto project = [&](const PackedLinear& layer, const Tensor& from, const Tensor& to) {
    run.multiply(layer.panels(), from.const_data_ptr<float>(), dim, count, to.mutable_data_ptr<float>(), layer.width(),
                 0, layer.panels().panels, false);
  };
  project(branch.own_query, normed, branch.initial_query);
  project(branch.hidden_gates, branch.slots, branch.initial_hidden_gates);
  return branch;
}

/// The buffers of one call for one modality. R = batch · slots rows.
struct FrozenSlotAttention::Pass {
  Pass(const Branch& frozen, const slot_attention::SlotAttentionConfig& config, const Tensor& raw)
      : branch(frozen),
        slot_count(config.slots()),
        dim(config.dim),
        batch(raw.size(0)),
        tokens(raw.size(1)),
        rows(batch * slot_count),
        input(raw.contiguous()),
        slots(frozen.slots.unsqueeze(0).repeat({batch, 1, 1})) {
    const auto buffer = [&](at::IntArrayRef sizes) { return at::empty(sizes, input.options()); };
    x = buffer({batch, tokens, dim});
    normed = buffer({rows, dim});
    query = buffer({rows, frozen.own_query.width()});
    plain_query = buffer({rows, frozen.query.width()});
    cross_query = buffer({rows, frozen.cross_query.width()});
    logits = buffer({batch, slot_count, tokens});
    attention = buffer({batch, slot_count, tokens});
    gathered = buffer({rows, dim});
    input_gates = buffer({rows, frozen.input_gates.width()});
    hidden_gates = buffer({rows, frozen.hidden_gates.width()});
    hidden = buffer({rows, frozen.first.width()});
    update = buffer({rows, frozen.second.width()});
  }

  static float* at(const Tensor& tensor, int64_t row) {
    return tensor.mutable_data_ptr<float>() + row * tensor.size(-1);
  }

  /// Layer norm of the slots of rows from `begin` to `end`, without weight and bias.
  void normalise(int64_t begin, int64_t end) const {
    for (int64_t r = begin; r < end; ++r) {
      kernels::kernels().layer_norm(slots.const_data_ptr<float>() + r * dim, nullptr, nullptr, dim, at(normed, r));
    }
  }

  void multiply(const PackedLinear& layer, const Tensor& from, const Tensor& to, int64_t begin, int64_t end,
                bool relu = false) const {
    kernels::kernels().multiply(layer.panels(), from.const_data_ptr<float>(), from.size(-1), rows,
                                to.mutable_data_ptr<float>(), to.size(-1), begin, end, relu);
  }

  /// Adds columns from `begin` to `end` of the update to the slots.
  void add_update(int64_t begin, int64_t end) const {
    for (int64_t r = 0; r < rows; ++r) {
      float* to = at(slots, r);
      const float* from = at(update, r);
      for (int64_t i = begin; i < end; ++i) to[i] += from[i];
    }
  }

  Tensor queries() const { return plain_query.narrow(1, 0, dim).contiguous().view({batch, slot_count, dim}); }

  /// Logits of the queries of one sample, which lie `stride` apart, each with its offset behind it, on these tokens.
  void score(int64_t sample, const float* queries, int64_t stride, float* out) const {
    constexpr int64_t kMost = 32;  // the configuration's limit on slots of both kinds
    std::array<float, kMost> offsets;
    for (int64_t s = 0; s < slot_count; ++s) offsets[static_cast<size_t>(s)] = queries[s * stride + dim];
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dim)));
    kernels::kernels().logits(queries, stride, x.const_data_ptr<float>() + sample * tokens * dim, slot_count, tokens,
                              dim, scale, offsets.data(), out);
  }

  const Branch& branch;
  const int64_t slot_count, dim, batch, tokens, rows;
  const Tensor input;
  Tensor slots, x, normed, query, plain_query, cross_query, logits, attention, gathered, input_gates, hidden_gates,
      hidden, update;
};

void FrozenSlotAttention::iterate(const std::array<Pass, 2>& passes) const {
  const kernels::Kernels& run = kernels::kernels();
  const int64_t slot_count = config_.slots(), dim = config_.dim;
  const auto over_samples = [&](const auto& work) { over_both(passes[0].batch, passes[1].batch, work); };
  const auto over_rows = [&](const auto& work) { over_both(passes[0].rows, passes[1].rows, work); };
  // Panels of weights are shared out; of a modality without samples there are none.
  const auto over_panels = [&](int64_t units, const auto& work) {
    over_both(passes[0].rows > 0 ? units : 0, passes[1].rows > 0 ? units : 0, work);
  };
  const auto panels = [](const PackedLinear& layer) { return layer.panels().panels; };

  const auto project = [&](PackedLinear Branch::*layer, Tensor Pass::*from, Tensor Pass::*to, bool relu = false) {
    const int64_t units = panels(image_.*layer);
    over_panels(units, [&](int64_t which, int64_t begin, int64_t end) {
      const Pass& pass = passes[static_cast<size_t>(which)];
      pass.multiply(pass.branch.*layer, pass.*from, pass.*to, begin, end, relu);
    });
  };

  over_samples([&](int64_t which, int64_t begin, int64_t end) {
    const Pass& pass = passes[static_cast<size_t>(which)];
    for (int64_t row = begin * pass.tokens; row < end * pass.tokens; ++row) {
      run.layer_norm(pass.input.const_data_ptr<float>() + row * dim, pass.branch.norm_weight.const_data_ptr<float>(),
                     pass.branch.norm_bias.const_data_ptr<float>(), dim, Pass::at(pass.x, row));
    }
  });

  for (int64_t iteration = 0; iteration < config_.iterations; ++iteration) {
    const bool first = iteration == 0, last = iteration + 1 == config_.iterations;
    if (!first || last) {
      over_rows(
          [&](int64_t which, int64_t begin, int64_t end) { passes[static_cast<size_t>(which)].normalise(begin, end); });
    }
    if (!first) project(&Branch::own_query, &Pass::normed, &Pass::query);  // Eq. 2
    if (last) {
      // Before the update: the module returns the queries of this iteration.
      project(&Branch::query, &Pass::normed, &Pass::plain_query);
      project(&Branch::cross_query, &Pass::normed, &Pass::cross_query);
    }
    over_samples([&](int64_t which, int64_t begin, int64_t end) {
      const Pass& pass = passes[static_cast<size_t>(which)];
      const Tensor& queries = first ? pass.branch.initial_query : pass.query;
      for (int64_t sample = begin; sample < end; ++sample) {
        const int64_t row = sample * slot_count;
        float* logits = Pass::at(pass.logits, row);
        pass.score(sample, Pass::at(queries, first ? 0 : row), queries.size(-1), logits);
        run.attention(logits, slot_count, pass.tokens, 1, Pass::at(pass.attention, row), nullptr,
                      nullptr);  // Eq. 3
        run.gather(Pass::at(pass.attention, row), Pass::at(pass.x, sample * pass.tokens), slot_count, pass.tokens, dim,
                   Pass::at(pass.gathered, row), dim);  // Eq. 4, before W_v
      }
    });
    // The gates of the state need nothing of the attention, but are computed where both cores are busy anyway.
    const int64_t gates = panels(image_.input_gates);
    over_panels(first ? gates : 2 * gates, [&](int64_t which, int64_t begin, int64_t end) {
      const Pass& pass = passes[static_cast<size_t>(which)];
      if (begin < gates) {
        pass.multiply(pass.branch.input_gates, pass.gathered, pass.input_gates, begin, std::min(end, gates));
      }
      if (end > gates) {
        pass.multiply(pass.branch.hidden_gates, pass.slots.view({pass.rows, dim}), pass.hidden_gates,
                      std::max<int64_t>(begin - gates, 0), end - gates);
      }
    });
    over_rows([&](int64_t which, int64_t begin, int64_t end) {
      const Pass& pass = passes[static_cast<size_t>(which)];
      for (int64_t row = begin; row < end; ++row) {
        const float* hidden_gates =
            first ? Pass::at(pass.branch.initial_hidden_gates, row % slot_count) : Pass::at(pass.hidden_gates, row);
        float* slots = Pass::at(pass.slots, row);
        run.gru(Pass::at(pass.input_gates, row), hidden_gates, slots, dim, slots, nullptr);  // Eq. 5
      }
      pass.normalise(begin, end);
    });
    project(&Branch::first, &Pass::normed, &Pass::hidden, /*relu=*/true);
    over_panels(panels(image_.second), [&](int64_t which, int64_t begin, int64_t end) {
      const Pass& pass = passes[static_cast<size_t>(which)];
      pass.multiply(pass.branch.second, pass.hidden, pass.update, begin, end);
      pass.add_update(begin * kPanel, std::min(end * kPanel, dim));  // Eq. 6
    });
  }
}

Tensor FrozenSlotAttention::slots(encoders::Modality modality, const Tensor& tokens) const {
  const at::NoGradGuard no_grad;
  const Tensor none = tokens.narrow(0, 0, 0);
  const bool image = modality == encoders::Modality::kImage;
  const std::array<Pass, 2> passes{Pass(image_, config_, image ? tokens : none),
                                   Pass(audio_, config_, image ? none : tokens)};
  iterate(passes);
  return passes[image ? 0 : 1].slots;
}

slot_attention::JointAttention FrozenSlotAttention::forward(const Tensor& image_tokens, const Tensor& audio_tokens,
                                                            double sharpening) const {
  const at::NoGradGuard no_grad;
  const kernels::Kernels& run = kernels::kernels();
  const std::array<Pass, 2> passes{Pass(image_, config_, image_tokens), Pass(audio_, config_, audio_tokens)};
  const int64_t batch = image_tokens.size(0), slot_count = config_.slots();
  iterate(passes);

  const auto sharpened = [&](const Pass& pass, const Tensor& logits) {
    const Tensor attention = at::empty_like(logits);
    for (int64_t sample = 0; sample < batch; ++sample) {
      run.attention(Pass::at(logits, sample * slot_count), slot_count, pass.tokens, static_cast<float>(sharpening),
                    Pass::at(attention, sample * slot_count), nullptr, nullptr);
    }
    return attention;
  };
  const auto crossed = [&](const Pass& from, const Pass& on) {
    Tensor logits = at::empty_like(on.logits);
    for (int64_t sample = 0; sample < batch; ++sample) {
      const int64_t row = sample * slot_count;
      on.score(sample, Pass::at(from.cross_query, row), from.cross_query.size(-1), Pass::at(logits, row));
    }
    return logits;
  };
  const auto& [image, audio] = passes;
  slot_attention::JointAttention result;
  result.image_slots = image.slots;
  result.audio_slots = audio.slots;
  result.image_queries = image.queries();
  result.audio_queries = audio.queries();
  result.logits = {image.logits, crossed(audio, image), audio.logits, crossed(image, audio)};
  result.image_on_image = sharpened(image, result.logits.image_on_image);
  result.audio_on_image = sharpened(image, result.logits.audio_on_image);
  result.audio_on_audio = sharpened(audio, result.logits.audio_on_audio);
  result.image_on_audio = sharpened(audio, result.logits.image_on_audio);
  return result;
}

}  // namespace soundspot::slot_attention
