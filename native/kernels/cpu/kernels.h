// The CPU kernels over raw pointers. Every source of this folder is compiled once for each instruction set, and
// kernels() gives those of the best one that the processor has. Nothing here allocates, throws or starts a thread.
#pragma once

#include <cstdint>

namespace soundspot::kernels {

/// Columns of a panel.
constexpr int64_t kPanel = 32;

/// Rows of a product that `stream` takes at most.
constexpr int64_t kStreamedRows = 4;

/// A bfloat16 number by its bits.
using bfloat16_bits = uint16_t;

/// The transpose of a weight [out, in] in panels of 32 outputs: [panels][in][32], the last one filled up with zeros.
/// Exactly one of `full`, `half` and `pairs` is set; pairs are of inputs, [panels][in / 2][32][2].
struct Panels {
  const float* full = nullptr;
  const bfloat16_bits* half = nullptr;
  const bfloat16_bits* pairs = nullptr;
  const float* bias = nullptr;  // [panels · 32] or null
  int64_t in = 0;
  int64_t panels = 0;
};

/// The left factor [rows, in] of a product: element (r, i) is at r · row + i · inner, and one of the strides is 1.
struct LeftFactor {
  const float* data = nullptr;
  int64_t row = 0, inner = 1;
};

/// Batch norm with what follows it, and pooling, in training. Tensors are channels-last, seen as [rows, channels];
/// arithmetic is float32, that of sums over many rows float64.
template <class Number>
struct TrainingKernels {
  /// Of each channel over `rows`: the mean and the sum of squares around it.
  void (*moments)(const Number* x, int64_t rows, int64_t channels, double* mean, double* squares);

  /// y = x · scale + shift, plus `residual` where it is given, negative results 0 with `relu`.
  void (*normalize)(const Number* x, const float* scale, const float* shift, const Number* residual, bool relu,
                    int64_t rows, int64_t channels, Number* y);

  /// Of each channel: Σ g and Σ g · (x − mean), where g is `gradient`, and 0 where `y` is not positive if it is given.
  void (*gradient_sums)(const Number* x, const Number* gradient, const Number* y, const float* mean, int64_t rows,
                        int64_t channels, double* sums, double* products);

  /// dx = scale · (g − offset − (x − mean) · slope), into `dx`, and g itself into `passed` where it is given.
  void (*denormalize)(const Number* x, const Number* gradient, const Number* y, const float* mean, const float* scale,
                      const float* offset, const float* slope, int64_t rows, int64_t channels, Number* dx,
                      Number* passed);

  /// 3 × 3 maximum, stride 2, padding 1, of one image, for output rows from `begin` to `end`; `index` holds which of
  /// the nine it was.
  void (*max_pool)(const Number* in, int64_t height, int64_t width, int64_t channels, Number* out, uint8_t* index,
                   int64_t begin, int64_t end);
  /// The gradient of its input, for input rows from `begin` to `end`.
  void (*max_pool_gradient)(const Number* gradient, const uint8_t* index, int64_t height, int64_t width,
                            int64_t channels, Number* out, int64_t begin, int64_t end);
};

/// A 3 × 3 weight in memory: element (output o, input i, place k of the nine) is at o · out + i · in + k · place.
struct FilterOrder {
  int64_t out, in, place;
};

/// A tile of a channels-last image: its results begin at (row, column). Channels are a multiple of kPanel.
struct TilePlace {
  int64_t height, width, channels, row, column;
};

/// Where a transform has element f of channel c: at f · stride + c / 32 · panel + c % 32.
struct TileOrder {
  int64_t stride, panel = kPanel;
};

/// The transforms around the products of Winograd's filtering, by tiles of m × m results and t × t inputs, t = m + 2.
struct WinogradKernels {
  /// G g Gᵀ of a panel of outputs of a weight: product f < t² of input i and output o goes to
  /// out[f · stride + i · 32 + o].
  void (*weight)(const float* weight, const FilterOrder& order, int64_t in, float* out, int64_t stride);
  /// Bᵀ d B of a tile's inputs d, padding of 1 around the image.
  void (*input)(const float* x, const TilePlace& place, float* out, const TileOrder& order);
  /// The same rounded to bfloat16. Null where the processor has no products of bfloat16.
  void (*input_half)(const float* x, const TilePlace& place, bfloat16_bits* out, const TileOrder& order);
  /// The tile's results Aᵀ m A + bias, of products m in this order, added to what `y` holds with `add`, negative ones 0
  /// with `relu`.
  void (*output)(const float* products, const TileOrder& order, const float* bias, const TilePlace& place, bool add,
                 bool relu, float* y);
  /// The gradient of the products m, A g Aᵀ, from that of the tile's results g, which are 0 beyond the image.
  void (*output_gradient)(const float* gradient, const TilePlace& place, float* out, const TileOrder& order);
  /// The gradient of a weight, Gᵀ u G, for one output and all of its inputs, from that of its transform: u's element f
  /// of input i is at products[f · stride + i]. Place k of input i goes to out[k · in + i]; `in` is a multiple of
  /// kPanel.
  void (*weight_gradient)(const float* products, int64_t stride, int64_t in, float* out);
};

/// Side and padding of the filter that an encoder begins with.
constexpr int64_t kStem = 7, kStemPadding = 3;

/// Of an encoder's input [channels, height, width], and the outputs of its first convolution, a multiple of kPanel.
struct StemSizes {
  int64_t channels, height, width, out;

  /// Of the convolution's result, before the pooling.
  int64_t filtered_height() const { return (height - 1) / 2 + 1; }
  int64_t filtered_width() const { return (width - 1) / 2 + 1; }
  /// Length of a row with its padding.
  int64_t line() const { return width + 2 * kStemPadding; }
  /// Numbers that the kernel needs for itself.
  int64_t scratch() const { return channels * kStem * line() + 3 * filtered_width() * out; }
};

/// The functions of one instruction set.
struct Kernels {
  const char* name;

  /// out[r, 32 p + c] = Σ_i x[r, i] · W[p][i][c] + bias, for panels from `begin` to `end`; negative results become 0
  /// with `relu`.
  void (*multiply)(const Panels& weight, const float* x, int64_t x_stride, int64_t rows, float* out, int64_t out_stride,
                   int64_t begin, int64_t end, bool relu);

  /// The same for x of either order, for one panel and rows from `begin` to `end`, of which the first `columns` results
  /// are written.
  void (*multiply_rows)(const Panels& weight, const LeftFactor& x, float* out, int64_t out_stride, int64_t panel,
                        int64_t columns, int64_t begin, int64_t end, bool relu);

  /// out[r, c] = Σ_i x[r, i] · W[i][c] for all rows and one whole panel W [in][32], plus what `out` holds with `add`.
  void (*accumulate_rows)(const float* panel, int64_t in, const LeftFactor& x, int64_t rows, float* out,
                          int64_t out_stride, bool add);

  /// Panels from `begin` to `end` of a weight [in, out] whose element (input i, output o) is at
  /// i · in_stride + o · out_stride. One of the strides is 1. What outputs do not fill of the last panel is 0.
  void (*pack)(const float* weight, int64_t in_stride, int64_t out_stride, int64_t in, int64_t out, int64_t begin,
               int64_t end, float* panels);

  /// out[r, c] = Σ_i x[r, i] · W(i, c) + bias[c] for columns from `begin` to `end` and up to kStreamedRows rows: a
  /// weight that is read once, as it lies. Element (input i, output c) is at i · in_stride + c · out_stride; one of the
  /// strides is 1. `bias` may be null.
  void (*stream)(const float* weight, int64_t in_stride, int64_t out_stride, int64_t in, const float* bias,
                 const float* x, int64_t x_stride, int64_t rows, float* out, int64_t out_row, int64_t begin,
                 int64_t end);

  /// (x − mean) / sqrt(variance + 1e-5) of a row, then · weight + bias where they are given.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t dim, float* out);

  /// Layer norm without weight and bias, 1 / sqrt(variance + 1e-5) returned; and the gradient of its input added to
  /// `out`, from that of its result times `weight`.
  float (*standardize)(const float* x, int64_t dim, float* out);
  void (*standardize_gradient)(const float* gradient, const float* weight, const float* normed, float inverse,
                               int64_t dim, float* out);

  /// 0 into `gradient` wherever ReLU's result `y` is 0.
  void (*mask)(const float* y, int64_t count, float* gradient);

  /// out = x · weight + bias.
  void (*affine)(const float* x, const float* weight, const float* bias, int64_t dim, float* out);

  /// out[s, n] = scale · x_n · queries_s + offset[s]; x is [tokens, dim].
  void (*logits)(const float* queries, int64_t query_stride, const float* x, int64_t slots, int64_t tokens, int64_t dim,
                 float scale, const float* offset, float* out);

  /// Eq. 3 and the normalisation of Eq. 4 on logits [slots, tokens] times `sharpening`, into `out`. Where they are
  /// given, `shares` takes the softmax over slots, and `totals` what each slot's row was divided by.
  void (*attention)(const float* logits, int64_t slots, int64_t tokens, float sharpening, float* out, float* shares,
                    float* totals);

  /// The gradient of the logits, times `scale`, from that of `attention`'s result, and its sum for each slot.
  void (*attention_gradient)(const float* gradient, const float* attention, const float* shares, const float* totals,
                             int64_t slots, int64_t tokens, float scale, float* out, float* sums);

  /// out[s] = Σ_n attention[s, n] · x_n.
  void (*gather)(const float* attention, const float* x, int64_t slots, int64_t tokens, int64_t dim, float* out,
                 int64_t out_stride);

  /// The cell of a GRU for one row: gates of the input and of the hidden state, [3 · dim] each, and the state.
  /// `kept` takes reset, update and new gate [3 · dim] where it is given.
  void (*gru)(const float* input_gates, const float* hidden_gates, const float* hidden, int64_t dim, float* out,
              float* kept);
  /// Its gradients: of both gates' inputs [3 · dim] and of the state. `gates` is what was kept, `hidden_new` the hidden
  /// state's part of the new gate [dim].
  void (*gru_gradient)(const float* gradient, const float* gates, const float* hidden_new, const float* hidden,
                       int64_t dim, float* input_gates, float* hidden_gates, float* out);

  /// 3 × 3 maximum with stride 2 and padding 1 of one image in channels-last order that holds no negative number,
  /// for output rows from `begin` to `end`.
  void (*max_pool_float)(const float* in, int64_t height, int64_t width, int64_t channels, float* out, int64_t begin,
                         int64_t end);
  void (*max_pool_bfloat16)(const bfloat16_bits* in, int64_t height, int64_t width, int64_t channels,
                            bfloat16_bits* out, int64_t begin, int64_t end);

  /// The 7 × 7 convolution with stride 2 of one image `x`, ReLU, and the maximum over 3 × 3 with stride 2 and padding
  /// 1, for its output rows from `begin` to `end`, channels-last. The weight is [out / 32][channels][7][7][32].
  void (*stem)(const float* x, const StemSizes& sizes, const float* weight, const float* bias, float* scratch, float* y,
               int64_t begin, int64_t end);

  /// The nearest of 0 … 255 to x · factor.
  void (*to_bytes)(const float* x, float factor, int64_t count, uint8_t* out);

  /// Winograd's filtering by tiles of 2 × 2 and of 4 × 4 results.
  WinogradKernels winograd_2, winograd_4;

  /// out[p][r][c] = Σ_i x[i / 32][r][i % 32] · W[p][i][c], of all panels p and rows r; `in` is a multiple of kPanel.
  void (*multiply_tiles)(const float* weight, int64_t in, int64_t panels, const float* x, int64_t rows, float* out);

  /// Null where the processor has no products of bfloat16, as is the next.
  /// As `multiply`, with pairs, and rows of bfloat16.
  void (*multiply_pairs)(const Panels& weight, const bfloat16_bits* x, int64_t x_stride, int64_t rows, float* out,
                         int64_t out_stride, int64_t begin, int64_t end, bool relu);
  /// As `pack`, into pairs.
  void (*pack_pairs)(const float* weight, int64_t in_stride, int64_t out_stride, int64_t in, int64_t begin, int64_t end,
                     bfloat16_bits* panels);

  TrainingKernels<float> full;
  TrainingKernels<bfloat16_bits> half;
};

/// The kernels of this processor.
const Kernels& kernels();

}  // namespace soundspot::kernels
