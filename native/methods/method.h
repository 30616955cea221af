// The interface of a method: everything that differs between joint slot attention and the other methods. A
// method is one file that registers itself by name; adding one touches neither trainer, binding nor evaluator.
#pragma once

#include <functional>

#include "core/compute.h"
#include "core/draws.h"
#include "encoders/encoder.h"
#include "losses/loss.h"
#include "slot_attention/reference.h"

namespace soundspot::methods {

using core::Parameters;
using encoders::EncoderOutputs;
using encoders::Modality;
using losses::Features;

/// Images [B, 3, size, size] and log spectrograms [B, 1, F, T].
struct View {
  Tensor images, spectrograms;

  View narrow(int64_t first, int64_t count) const {
    return {images.narrow(0, first, count), spectrograms.narrow(0, first, count)};
  }
};

/// The batch of a training step: its pairs, and by name the further views that the method asks for.
struct Views {
  View pairs;
  std::map<std::string, View> others;  // of the same samples in the same order

  int64_t batch() const { return pairs.images.size(0); }
  Views narrow(int64_t first, int64_t count) const {
    Views part{pairs.narrow(first, count), {}};
    for (const auto& [name, view] : others) part.others.emplace(name, view.narrow(first, count));
    return part;
  }
};

/// Which encoders a forward pass takes, and which draws.
struct EncodeOptions {
  bool copies = false;  // the method's copies of the encoders, without gradients
  int64_t pass = 0;     // each pass over the same samples has draws of its own
};

/// A loss as the configuration of the run has it at this step. Weights are above 0.
struct WeightedLoss {
  std::string name;
  double weight;
  double temperature;  // contrastive losses only
};

/// A step's context for its method.
struct StepContext {
  core::Compute compute;
  const Parameters& parameters;
  /// Both encoders on some of the batch, with gradients and the statistics of batch norm that the run wants. Either
  /// input may be undefined, and its tokens are then; images may have any size.
  std::function<EncoderOutputs(const Tensor& images, const Tensor& spectrograms, const EncodeOptions& options)>
      encode_with;
  EncoderOutputs encode(const Tensor& images, const Tensor& spectrograms, const EncodeOptions& options = {}) const {
    return encode_with(images, spectrograms, options);
  }
  std::vector<WeightedLoss> losses;
  int64_t false_negative_k = 0;  // 0: none are looked for
  bool masking = true;           // replace tokens by mask tokens
  bool plain = false;            // LibTorch's own operators in place of the fused kernels
  core::Draws draws;
  core::Share share;                // the samples of `features` within the batch of all processes
  distributed::PeersPointer peers;  // who has the rest of the batch; null where there is no more of it
};

/// The terms of the loss by name, unweighted, in the order of StepContext::losses, and what else a log should have.
/// All are scalars on the device of the step.
struct Terms {
  std::vector<std::pair<std::string, Tensor>> values, diagnostics;
};

/// A method's response to B pairs. T target maps, 1 for most methods; h × w image tokens.
struct Response {
  Tensor audio_maps;                 // [B, T, h·w] where the audio is in the image, raw
  std::optional<Tensor> image_maps;  // [B, T, h·w] the image's own maps, of methods that refine by them (IQR)
  std::optional<std::pair<double, double>> range;  // of raw audio maps that have a fixed one
  Tensor image_embedding, audio_embedding;  // [B, T·D] T unit vectors in a row: confidence, retrieval, neighbours
  std::optional<slot_attention::JointAttention> joint;  // of joint slot attention
};

/// All tensors of a response; some may be undefined.
std::vector<Tensor*> tensors_of(Response& response);

struct RespondOptions {
  double sharpening = 1;  // of the logits of an output attention, where there is one
};

/// Fixed properties of a parameter over the steps.
enum class ParameterKind {
  kTrained,
  kStatistic,  // of batch norm: moved by the forward pass
  kAverage,    // of another parameter: moved once per step
  kUnused,     // stored with the model, and no part of any computation
};

/// A method made ready for inference: weights in the order in which they are read.
class Responder {
 public:
  virtual ~Responder() = default;
  /// @throws Error ERR_INTERNAL when weights are too large to compute with.
  virtual Response respond(const EncoderOutputs& tokens, const RespondOptions& options) const = 0;
  /// Of one modality alone, as in Response: [B, T·D].
  virtual Tensor embed(Modality modality, const Tensor& tokens) const = 0;
};

class Method {
 public:
  virtual ~Method() = default;

  /// Adds the parameters that the method has beside the encoders'.
  virtual void initialize(core::Initializer&) const {}

  /// Projections of each encoder, H; the features of their tokens lie in a row, [B, N, H·D].
  virtual int64_t heads() const { return 1; }

  /// The prefix of copies of both encoders' parameters, which are averages of them; none where it is empty. Statistics
  /// of batch norm are the copies' own.
  virtual std::string copies() const { return {}; }
  /// Whether inference takes the copies.
  virtual bool infers_by_copies() const { return false; }

  /// Tensors that published files have beside the method's parameters.
  virtual std::vector<encoders::UnusedTensor> unused() const { return {}; }

  /// Whether a file may lack the parameter of that name, which inference does not need; it then begins as in a new
  /// model.
  virtual bool may_be_missing(const std::string& /*name*/) const { return false; }

  /// Views of a sample that training needs beside the pair; src/config/methods.ts describes them.
  virtual std::vector<std::string> views() const { return {}; }

  /// Once per step, before any of its parts: for draws that all parts share, and for averages of weights that move once
  /// per step. By default nothing.
  virtual void begin_step(StepContext&) const {}

  /// The forward pass of one part of the batch, as far as StepContext::losses need it.
  /// @throws Error ERR_CONFIG when the method has no such loss.
  virtual Features features(const Views& views, const StepContext& context) const = 0;

  /// The losses of the whole batch, whose parts were joined.
  virtual Terms losses(const Features& features, const StepContext& context) const = 0;

  /// Without gradients; the reference that a frozen Responder is compared with.
  virtual Response respond(const Parameters& parameters, const EncoderOutputs& tokens,
                           const RespondOptions& options) const = 0;

  /// Of one modality alone, as in Response: [B, T·D].
  virtual Tensor embed(const Parameters& parameters, Modality modality, const Tensor& tokens) const = 0;

  /// For an engine. It may hold copies of the weights, or look at `parameters`, which outlive it. By default
  /// unfrozen().
  virtual std::unique_ptr<Responder> freeze(const Parameters& parameters, const core::Compute& compute) const;

  /// The reference as a Responder: over weights that stay where they are.
  std::unique_ptr<Responder> unfrozen(const Parameters& parameters) const;

  /// What training does to a parameter of this name. The optimizer moves trained ones alone; the others are saved,
  /// resumed and sent to all processes with them, and a step that fails puts them back.
  /// By default the copies are averages.
  virtual ParameterKind kind(const std::string& name) const;

  /// Targets, T.
  virtual int64_t targets() const { return 1; }

 protected:
  /// θ' ← m·θ' + (1 − m)·θ for every trained parameter θ of the encoders and its copy θ'.
  void move_copies(const Parameters& parameters, double momentum) const;

  /// The registered losses of the step on `features`.
  Terms registered(const Features& features, const StepContext& context, const Tensor& excluded) const;
};

using Factory = std::function<std::unique_ptr<Method>(const encoders::ModelConfig&)>;

/// All methods by name.
std::map<std::string, Factory>& registry();

/// @throws Error ERR_CONFIG naming the known methods when there is none of that name.
std::unique_ptr<Method> make(const encoders::ModelConfig& config);

/// Registers a method when the addon is loaded: `const Register registered{"name", make};`
struct Register {
  Register(const std::string& name, Factory factory);
};

/// The features that the losses of a step need.
/// @throws Error ERR_CONFIG when `offered` lacks one: the method has no such loss.
std::vector<std::string> needed(const std::vector<WeightedLoss>& losses, const std::string& method,
                                const std::vector<std::string>& offered);

}  // namespace soundspot::methods
