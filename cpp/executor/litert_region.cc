#include "litert_region.h"

#include <cstdlib>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "buffers.h"
#include "litert_api.h"
#include "stderr_capture.h"

namespace tdse {
namespace {

using litert::Check;

// A handle of LiteRT that is given back when it goes out of scope.
template <typename T>
using Handle = std::unique_ptr<std::remove_pointer_t<T>, void (*)(T)>;

[[noreturn]] void Fail(const std::string& what) { throw std::runtime_error("litert: " + what); }

// TfLiteType of a type, or 0 if LiteRT has no such type.
int ElementType(DLDataType dtype) {
  const std::string name = TypeName(dtype);
  static const std::pair<const char*, int> kTypes[] = {
      {"float32", 1}, {"int32", 2},   {"uint8", 3},    {"int64", 4},    {"bool", 6},
      {"int16", 7},   {"int8", 9},    {"float16", 10}, {"float64", 11}, {"uint64", 13},
      {"uint32", 16}, {"uint16", 17}, {"bfloat16", 19}};
  for (const auto& [type_name, type] : kTypes) {
    if (name == type_name) return type;
  }
  return 0;
}

Handle<litert::Options> MakeOptions(const litert::Api& api, uint32_t threads) {
  litert::Options raw = nullptr;
  Check(api.CreateOptions(&raw), "create options");
  Handle<litert::Options> options(raw, api.DestroyOptions);
  Check(api.SetOptionsHardwareAccelerators(raw, litert::kCpu), "choose the CPU");

  const auto add = [&](const char* identifier, const std::string& text) {
    char* payload = strdup(text.c_str());
    if (payload == nullptr) Fail("cannot set options: out of memory");
    litert::OpaqueOptions opaque = nullptr;
    const auto free_payload = [](void* memory) { std::free(memory); };
    litert::Status status = api.CreateOpaqueOptions(identifier, payload, free_payload, &opaque);
    if (status != litert::kOk) std::free(payload);
    Check(status, "create options");
    status = api.AddOpaqueOptions(raw, opaque);
    if (status != litert::kOk) api.DestroyOpaqueOptions(opaque);
    Check(status, "add options");
  };
  // XNNPACK's thread pool, and the threads of LiteRT's own kernels for what XNNPACK does not take.
  add("xnnpack", "num_threads = " + std::to_string(threads) + "\n");
  return options;
}

// What differs in the API between the inputs and the outputs of a model.
struct Role {
  const char* name;
  decltype(litert::Api::GetNumSignatureInputs) count;
  decltype(litert::Api::GetSignatureInputName) tensor_name;
  decltype(litert::Api::GetSignatureInputTensorByIndex) tensor;
  decltype(litert::Api::GetCompiledModelInputBufferRequirements) requirements;
};

using Buffers = std::vector<Handle<litert::TensorBuffer>>;

std::vector<litert::TensorBuffer> HandlesOf(const Buffers& buffers) {
  std::vector<litert::TensorBuffer> handles;
  for (const auto& buffer : buffers) handles.push_back(buffer.get());
  return handles;
}

class BoundLiteRtRegion final : public BoundRegion {
 public:
  BoundLiteRtRegion(litert::CompiledModel compiled, Buffers inputs, Buffers outputs)
      : api_(litert::GetApi()),
        compiled_(compiled),
        inputs_(std::move(inputs)),
        outputs_(std::move(outputs)),
        input_handles_(HandlesOf(inputs_)),
        output_handles_(HandlesOf(outputs_)) {}

  void Run() override {
    Check(api_.RunCompiledModel(compiled_, 0, input_handles_.size(), input_handles_.data(),
                                output_handles_.size(), output_handles_.data()),
          "run the region");
  }

 private:
  const litert::Api& api_;
  const litert::CompiledModel compiled_;
  const Buffers inputs_;
  const Buffers outputs_;
  std::vector<litert::TensorBuffer> input_handles_;
  std::vector<litert::TensorBuffer> output_handles_;
};

class LiteRtRegion final : public Region {
 public:
  LiteRtRegion(const Plan& plan, const PlanRegion& region)
      : api_(litert::GetApi()),
        model_(nullptr, api_.DestroyModel),
        compiled_(nullptr, api_.DestroyCompiledModel) {
    Compile(plan.blobs[region.blob], region.threads);
    litert::Signature signature = nullptr;
    Check(api_.GetModelSignature(model_.get(), 0, &signature), "describe the region");
    const Role input = {"input", api_.GetNumSignatureInputs, api_.GetSignatureInputName,
                        api_.GetSignatureInputTensorByIndex,
                        api_.GetCompiledModelInputBufferRequirements};
    const Role output = {"output", api_.GetNumSignatureOutputs, api_.GetSignatureOutputName,
                         api_.GetSignatureOutputTensorByIndex,
                         api_.GetCompiledModelOutputBufferRequirements};
    std::set<litert::Tensor> seen;
    inputs_ = Match(plan, region.inputs, signature, input, &seen);
    outputs_ = Match(plan, region.outputs, signature, output, &seen);
  }

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    return std::make_unique<BoundLiteRtRegion>(compiled_.get(), BuffersOf(inputs_, tensors),
                                               BuffersOf(outputs_, tensors));
  }

 private:
  // An input or output as LiteRT wants to be told of it.
  struct Border {
    TensorId id;
    std::string what;
    litert::RankedTensorType type;
    size_t bytes;
  };

  void Compile(const Blob& slice, uint32_t threads) {
    litert::Environment environment = litert::GetEnvironment();
    Handle<litert::Options> options = MakeOptions(api_, threads);
    StderrCapture capture;
    litert::Model model = nullptr;
    litert::Status status = api_.CreateModelFromBuffer(environment, slice.data, slice.size, &model);
    model_.reset(model);
    litert::CompiledModel compiled = nullptr;
    if (status == litert::kOk) {
      status = api_.CreateCompiledModel(environment, model, options.get(), &compiled);
    }
    compiled_.reset(compiled);
    Check(status, "compile the region", capture.Errors());
  }

  // Tensor buffers at the frame's addresses.
  Buffers BuffersOf(const std::vector<Border>& borders, const TensorViews& tensors) const {
    Buffers buffers;
    for (const Border& border : borders) {
      litert::TensorBuffer buffer = nullptr;
      Check(api_.CreateTensorBufferFromHostMemory(&border.type, tensors[border.id].data,
                                                  border.bytes, nullptr, &buffer),
            "use the plan's buffer for " + border.what);
      buffers.emplace_back(buffer, api_.DestroyTensorBuffer);
    }
    return buffers;
  }

  // The plan's inputs or outputs, once they are known to be the slice's. `seen` takes the slice's.
  std::vector<Border> Match(const Plan& plan, const std::vector<TensorId>& ids,
                            litert::Signature signature, const Role& role,
                            std::set<litert::Tensor>* seen) const {
    size_t count = 0;
    Check(role.count(signature, &count), "describe the region");
    if (count != ids.size()) {
      Fail("the slice has " + std::to_string(count) + " " + role.name + "s, the plan " +
           std::to_string(ids.size()));
    }
    RequireDistinctNames(signature, count, role);
    std::vector<Border> borders;
    for (size_t i = 0; i < count; ++i) {
      const PlanTensor& planned = plan.tensors[ids[i]];
      const std::string what = std::string(role.name) + " '" + planned.name + "'";
      litert::Tensor tensor = nullptr;
      Check(role.tensor(signature, i, &tensor), "describe " + what);
      // LiteRT would write one of two buffers of the same tensor.
      if (!seen->insert(tensor).second) {
        Fail("cannot take " + what + ": it is an input or output of the slice twice");
      }
      const litert::RankedTensorType type = TypeOf(tensor, planned, what);
      litert::TensorBufferRequirements requirements = nullptr;
      size_t bytes = 0;
      Check(role.requirements(compiled_.get(), 0, i, &requirements), "say the size of " + what);
      Check(api_.GetTensorBufferRequirementsBufferSize(requirements, &bytes),
            "say the size of " + what);
      if (bytes > planned.size_bytes + kBufferPadding) {
        Fail("cannot use the plan's buffer for " + what + ": it wants " + std::to_string(bytes) +
             " bytes, not " + std::to_string(planned.size_bytes));
      }
      borders.push_back({ids[i], what, type, bytes});
    }
    return borders;
  }

  // LiteRT looks tensors up by name, and fails badly where two have the same.
  void RequireDistinctNames(litert::Signature signature, size_t count, const Role& role) const {
    std::set<std::string> names;
    for (size_t i = 0; i < count; ++i) {
      const char* name = nullptr;
      Check(role.tensor_name(signature, i, &name), "describe the region");
      if (name != nullptr && *name != '\0' && !names.insert(name).second) {
        Fail("cannot tell two " + std::string(role.name) +
             "s of the slice apart: both are named '" + name + "'");
      }
    }
  }

  litert::RankedTensorType TypeOf(litert::Tensor tensor, const PlanTensor& planned,
                                  const std::string& what) const {
    litert::TensorTypeId type_id;
    Check(api_.GetTensorTypeId(tensor, &type_id), "describe " + what);
    if (type_id != litert::kRankedTensorType) {
      Fail("cannot take " + what + ": its number of dimensions is not known");
    }
    litert::RankedTensorType type{};
    Check(api_.GetRankedTensorType(tensor, &type), "describe " + what);
    if (type.element_type != ElementType(planned.dtype)) {
      Fail("cannot take " + what + " as " + TypeName(planned.dtype) +
           ": the slice has another element type");
    }
    bool same_shape = type.layout.rank == planned.shape.size();
    for (size_t i = 0; same_shape && i < planned.shape.size(); ++i) {
      if (type.layout.dimensions[i] < 0) Fail("cannot take " + what + ": its shape is not fixed");
      same_shape = type.layout.dimensions[i] == planned.shape[i];
    }
    if (!same_shape) Fail("cannot take " + what + ": the slice has another shape");
    if (planned.size_bytes == 0) Fail("cannot take " + what + ": it has no elements");
    return type;
  }

  const litert::Api& api_;
  Handle<litert::Model> model_;
  Handle<litert::CompiledModel> compiled_;
  std::vector<Border> inputs_;
  std::vector<Border> outputs_;
};

}  // namespace

std::unique_ptr<Region> MakeLiteRtRegion(const Plan& plan, const PlanRegion& region) {
  if (region.blob < 0) Fail("the region has no model");
  return std::make_unique<LiteRtRegion>(plan, region);
}

}  // namespace tdse
