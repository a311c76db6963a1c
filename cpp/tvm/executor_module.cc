#include "executor_module.h"

#include <tvm/ffi/cast.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device_region.h"
#include "emulated_region.h"
#include "function_region.h"
#include "functions.h"
#include "kernels.h"
#include "litert_api.h"
#include "litert_region.h"
#include "stream_module.h"

namespace tdse {
namespace {

namespace ffi = tvm::ffi;

ffi::Bytes ToBytes(const std::vector<double>& values) {
  return ffi::Bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
}

// The data of a tensor argument that must be as the plan says.
void* CheckedData(ffi::AnyView argument, const PlanTensor& planned) {
  const auto* tensor = argument.cast<DLTensor*>();
  const auto fail = [&planned](const std::string& why) {
    throw std::runtime_error("tensor '" + planned.name + "' " + why);
  };
  if (tensor->device.device_type != kDLCPU) fail("is not in host memory");
  if (tensor->dtype.code != planned.dtype.code || tensor->dtype.bits != planned.dtype.bits ||
      tensor->dtype.lanes != planned.dtype.lanes) {
    fail("is not of type " + TypeName(planned.dtype));
  }
  bool same_shape = static_cast<size_t>(tensor->ndim) == planned.shape.size();
  for (size_t i = 0; same_shape && i < planned.shape.size(); ++i) {
    same_shape = tensor->shape[i] == planned.shape[i];
  }
  if (!same_shape) fail("has a shape that is not the model's");
  int64_t stride = 1;
  for (size_t i = planned.shape.size(); tensor->strides != nullptr && i-- > 0;) {
    if (planned.shape[i] != 1 && tensor->strides[i] != stride) fail("is not contiguous");
    stride *= planned.shape[i];
  }
  return static_cast<char*>(tensor->data) + tensor->byte_offset;
}

}  // namespace

OwnedPlan::OwnedPlan(const ffi::Bytes& data)
    : bytes(data.data(), data.size()), plan(ParsePlan(bytes.data(), bytes.size())) {}

ExecutorModule::ExecutorModule(const ffi::Bytes& plan)
    : plan_(std::make_shared<const OwnedPlan>(plan)),
      executor_(std::shared_ptr<const Plan>(plan_, &plan_->plan), Factories()) {}

int ExecutorModule::GetPropertyMask() const {
  return ffi::Module::kBinarySerializable | ffi::Module::kRunnable;
}

ffi::Bytes ExecutorModule::SaveToBytes() const {
  return ffi::Bytes(reinterpret_cast<const char*>(plan_->bytes.data()), plan_->bytes.size());
}

ffi::Optional<ffi::Function> ExecutorModule::GetFunction(const ffi::String& name) {
  static const std::pair<const char*, Method> kMethods[] = {
      {"tdse_main", &ExecutorModule::Main},         {"run", &ExecutorModule::Run},
      {"stream", &ExecutorModule::OpenStream},      {"time_runs", &ExecutorModule::TimeRuns},
      {"time_stream", &ExecutorModule::TimeStream}, {"profile", &ExecutorModule::Profile},
      {"start_trace", &ExecutorModule::StartTrace}, {"take_trace", &ExecutorModule::TakeTrace},
      {"describe", &ExecutorModule::Describe},      {"read_tensor", &ExecutorModule::ReadTensor},
      {"plan", &ExecutorModule::PlanBytes},
  };
  for (const auto& [method_name, method] : kMethods) {
    if (name == method_name) return FunctionOf(this, method);
  }
  return std::nullopt;
}

void ExecutorModule::Main(ffi::PackedArgs args, ffi::Any*) {
  const Plan& plan = plan_->plan;
  RequireCount(args, plan.inputs.size() + plan.outputs.size(), "tdse_main");
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  int next = 0;
  for (TensorId id : plan.inputs) inputs.push_back(CheckedData(args[next++], plan.tensors[id]));
  for (TensorId id : plan.outputs) outputs.push_back(CheckedData(args[next++], plan.tensors[id]));
  executor_.Get().Run(inputs, outputs);
}

void ExecutorModule::Run(ffi::PackedArgs args, ffi::Any*) {
  const Plan& plan = plan_->plan;
  RequireCount(args, plan.inputs.size() + plan.outputs.size(), "run");
  executor_.Get().Run(InputsOf(plan, args, 0),
                      OutputsOf(plan, args, static_cast<int>(plan.inputs.size())));
}

void ExecutorModule::OpenStream(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 0, "stream");
  *result = ffi::Module(ffi::make_object<StreamModule>(ffi::GetObjectPtr<ffi::Object>(this),
                                                       &executor_, plan_->plan));
}

void ExecutorModule::TimeRuns(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 1 + plan_->plan.inputs.size(), "time_runs");
  *result =
      ToBytes(executor_.Get().TimeRuns(args[0].cast<uint32_t>(), InputsOf(plan_->plan, args, 1)));
}

void ExecutorModule::TimeStream(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 1 + plan_->plan.inputs.size(), "time_stream");
  *result =
      ToBytes(executor_.Get().TimeStream(args[0].cast<uint32_t>(), InputsOf(plan_->plan, args, 1)));
}

void ExecutorModule::Profile(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 1 + plan_->plan.inputs.size(), "profile");
  *result =
      ToBytes(executor_.Get().Profile(args[0].cast<uint32_t>(), InputsOf(plan_->plan, args, 1)));
}

void ExecutorModule::StartTrace(ffi::PackedArgs args, ffi::Any*) {
  RequireCount(args, 0, "start_trace");
  executor_.Get().StartTrace();
}

void ExecutorModule::TakeTrace(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 0, "take_trace");
  std::vector<double> values;
  for (const TraceEvent& event : executor_.Get().TakeTrace()) {
    values.insert(values.end(), {static_cast<double>(event.item), static_cast<double>(event.region),
                                 static_cast<double>(event.lane), event.start_us, event.end_us});
  }
  *result = ToBytes(values);
}

void ExecutorModule::Describe(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 0, "describe");
  *result = ffi::String(DescribePlan(plan_->plan));
}

void ExecutorModule::ReadTensor(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 1, "read_tensor");
  const std::vector<uint8_t> value = executor_.Get().ReadTensor(args[0].cast<uint32_t>());
  *result = ffi::Bytes(reinterpret_cast<const char*>(value.data()), value.size());
}

void ExecutorModule::PlanBytes(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 0, "plan");
  *result = SaveToBytes();
}

RegionFactories ExecutorModule::Factories() {
  const KernelLookup find_kernel = [this](const std::string& symbol) {
    for (const ffi::Any& import : imports()) {
      auto kernel = import.cast<ffi::Module>()->GetFunction(symbol, /*query_imports=*/true);
      if (kernel.has_value()) return kernel;
    }
    return ffi::Optional<ffi::Function>(std::nullopt);
  };
  const RegionFactories litert = {{"litert", MakeLiteRtRegion},
                                  {"litert_interpreter", MakeFunctionRegion}};
  RegionFactories all = litert;
  all["emulated"] = [litert](const Plan& plan, const PlanRegion& region) {
    return MakeEmulatedRegion(plan, region, litert);
  };
  all["tvm"] = [find_kernel](const Plan& plan, const PlanRegion& region) {
    return MakeKernelRegion(plan, region, KernelsOf(find_kernel));
  };
  for (const PlanRegion& planned : plan_->plan.regions) {
    if (planned.device().device_type != kDLCPU) {
      all[planned.kind] = [find_kernel](const Plan& plan, const PlanRegion& region) {
        return MakeDeviceRegion(plan, region, find_kernel);
      };
    } else if (all.count(planned.kind) == 0) {
      all[planned.kind] = MakeFunctionRegion;
    }
  }
  return all;
}

namespace {

ffi::Module CreateExecutor(const ffi::Bytes& plan) {
  try {
    return ffi::Module(ffi::make_object<ExecutorModule>(plan));
  } catch (const std::exception& error) {
    TVM_FFI_THROW(RuntimeError) << error.what();
  }
  TVM_FFI_UNREACHABLE();
}

}  // namespace

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("tdse.executor_create", CreateExecutor)
      .def("ffi.Module.load_from_bytes.tdse_executor", CreateExecutor)
      .def("tdse.set_litert_library",
           [](const ffi::String& path) { litert::SetLibrary(std::string(path)); });
}

}  // namespace tdse
