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

/// The batch of a training step: images [B, 3, size, size] and log spectrograms [B, 1, F, T].
struct Views {
  Tensor images, spectrograms;

  int64_t batch() const { return images.size(0); }
  Views narrow(int64_t first, int64_t count) const {
    return {images.narrow(0, first, count), spectrograms.narrow(0, first, count)};
  }
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
  /// Both encoders on some of the batch, with gradients and the statistics of batch norm that the run wants.
  std::function<EncoderOutputs(const Tensor& images, const Tensor& spectrograms)> encode;
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
  Tensor audio_maps;                        // [B, T, h·w] where the audio is in the image, raw
  std::optional<Tensor> image_maps;         // [B, T, h·w] the image's own maps, of methods that refine by them (IQR)
  Tensor image_embedding, audio_embedding;  // [B, T·D] T unit vectors in a row: confidence, retrieval, neighbours
  std::optional<slot_attention::JointAttention> joint;  // of joint slot attention
};

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
  virtual ParameterKind kind(const std::string& /*name*/) const { return ParameterKind::kTrained; }

  /// Targets, T.
  virtual int64_t targets() const { return 1; }

 protected:
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
