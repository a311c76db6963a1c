#include "executor_module.h"

#include <tvm/ffi/cast.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <string>
#include <utility>

#include "device_region.h"
#include "litert_api.h"
#include "litert_region.h"
#include "tvm_region.h"

namespace tdse {
namespace {

namespace ffi = tvm::ffi;

ffi::Bytes ToBytes(const std::vector<double>& values) {
  return ffi::Bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
}

void* ToAddress(ffi::AnyView argument) { return reinterpret_cast<void*>(argument.cast<int64_t>()); }

void RequireCount(ffi::PackedArgs args, size_t count, const char* function) {
  if (static_cast<size_t>(args.size()) == count) return;
  throw std::runtime_error(std::string(function) + " takes " + std::to_string(count) +
                           " arguments, not " + std::to_string(args.size()));
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

ExecutorModule::ExecutorModule(const ffi::Bytes& plan)
    : bytes_(plan.data(), plan.size()),
      plan_(ParsePlan(bytes_.data(), bytes_.size())),
      executor_(plan_, Factories()),
      inputs_(plan_.inputs.size()),
      outputs_(plan_.outputs.size()) {}

int ExecutorModule::GetPropertyMask() const {
  return ffi::Module::kBinarySerializable | ffi::Module::kRunnable;
}

ffi::Bytes ExecutorModule::SaveToBytes() const {
  return ffi::Bytes(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
}

ffi::Optional<ffi::Function> ExecutorModule::GetFunction(const ffi::String& name) {
  static const std::pair<const char*, Method> kMethods[] = {
      {"tdse_main", &ExecutorModule::Main},     {"run", &ExecutorModule::Run},
      {"time_runs", &ExecutorModule::TimeRuns}, {"profile", &ExecutorModule::Profile},
      {"describe", &ExecutorModule::Describe},  {"read_tensor", &ExecutorModule::ReadTensor},
  };
  for (const auto& [method_name, method] : kMethods) {
    if (name != method_name) continue;
    // The function keeps the module alive.
    ffi::ObjectPtr<ffi::Object> self = ffi::GetObjectPtr<ffi::Object>(this);
    return ffi::Function::FromPacked(
        [self, this, method = method](ffi::PackedArgs args, ffi::Any* result) {
          try {
            (this->*method)(args, result);
          } catch (const ffi::Error&) {
            throw;
          } catch (const std::exception& error) {
            TVM_FFI_THROW(RuntimeError) << error.what();
          }
        });
  }
  return std::nullopt;
}

void ExecutorModule::Main(ffi::PackedArgs args, ffi::Any*) {
  RequireCount(args, plan_.inputs.size() + plan_.outputs.size(), "tdse_main");
  executor_.Use([&](Executor& executor) {
    int next = 0;
    for (size_t i = 0; i < plan_.inputs.size(); ++i) {
      inputs_[i] = CheckedData(args[next++], plan_.tensors[plan_.inputs[i]]);
    }
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      outputs_[i] = CheckedData(args[next++], plan_.tensors[plan_.outputs[i]]);
    }
    executor.Run(inputs_, outputs_);
  });
}

void ExecutorModule::Run(ffi::PackedArgs args, ffi::Any*) {
  RequireCount(args, plan_.inputs.size() + plan_.outputs.size(), "run");
  executor_.Use([&](Executor& executor) {
    int next = 0;
    for (const void*& input : inputs_) input = ToAddress(args[next++]);
    for (void*& output : outputs_) output = ToAddress(args[next++]);
    executor.Run(inputs_, outputs_);
  });
}

void ExecutorModule::TimeRuns(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 1 + plan_.inputs.size(), "time_runs");
  executor_.Use([&](Executor& executor) {
    for (size_t i = 0; i < inputs_.size(); ++i) inputs_[i] = ToAddress(args[1 + i]);
    *result = ToBytes(executor.TimeRuns(args[0].cast<uint32_t>(), inputs_));
  });
}

void ExecutorModule::Profile(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 1 + plan_.inputs.size(), "profile");
  executor_.Use([&](Executor& executor) {
    for (size_t i = 0; i < inputs_.size(); ++i) inputs_[i] = ToAddress(args[1 + i]);
    *result = ToBytes(executor.Profile(args[0].cast<uint32_t>(), inputs_));
  });
}

void ExecutorModule::Describe(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 0, "describe");
  *result = ffi::String(DescribePlan(plan_));
}

void ExecutorModule::ReadTensor(ffi::PackedArgs args, ffi::Any* result) {
  RequireCount(args, 1, "read_tensor");
  const auto id = args[0].cast<uint32_t>();
  executor_.Use([&](Executor& executor) {
    const DLTensor& tensor = executor.ReadTensor(id);
    *result = ffi::Bytes(static_cast<const char*>(tensor.data), plan_.tensors[id].size_bytes);
  });
}

RegionFactories ExecutorModule::Factories() {
  const KernelLookup find_kernel = [this](const std::string& symbol) {
    for (const ffi::Any& import : imports()) {
      auto kernel = import.cast<ffi::Module>()->GetFunction(symbol, /*query_imports=*/true);
      if (kernel.has_value()) return kernel;
    }
    return ffi::Optional<ffi::Function>(std::nullopt);
  };
  RegionFactories factories = {
      {"litert", MakeLiteRtRegion},
      {"litert_interpreter", MakeInterpreterRegion},
      {"tvm",
       [find_kernel](const Plan&, const PlanRegion& region, TensorViews* tensors) {
         return MakeTvmRegion(region, tensors, find_kernel);
       }},
  };
  for (const PlanRegion& planned : plan_.regions) {
    if (planned.device().device_type == kDLCPU) continue;
    factories[planned.kind] = [find_kernel](const Plan& plan, const PlanRegion& region,
                                            TensorViews* tensors) {
      return MakeDeviceRegion(plan, region, tensors, find_kernel);
    };
  }
  return factories;
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
