#include "device_region.h"

#include <tvm/ffi/any.h>
#include <tvm/ffi/cast.h>
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>

#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bound_call.h"

namespace tdse {
namespace {

namespace ffi = tvm::ffi;

// A function of TVM's runtime, which is loaded before any kernel is.
ffi::Function RuntimeFunction(const char* name) {
  const std::optional<ffi::Function> found = ffi::Function::GetGlobal(name);
  if (!found.has_value()) throw std::runtime_error("TVM's runtime is not loaded");
  return *found;
}

class DeviceRegion final : public Region {
 public:
  DeviceRegion(const Plan& plan, const PlanRegion& region, TensorViews* tensors,
               const KernelLookup& find_kernel)
      : device_(region.device()),
        allocate_(RuntimeFunction("runtime.TVMTensorAllocWithScope")),
        copy_in_(RuntimeFunction("runtime.TVMTensorCopyFromBytes")),
        copy_out_(RuntimeFunction("runtime.TVMTensorCopyToBytes")) {
    for (const PlanStep& step : region.steps) {
      ffi::Optional<ffi::Function> kernel = find_kernel(step.symbol);
      if (!kernel.has_value()) {
        throw std::runtime_error("no imported module has the kernel " + step.symbol);
      }
      BoundCall call{*std::move(kernel), {}};
      for (TensorId id : step.arguments) {
        call.arguments.emplace_back(OnDevice(plan, id));
      }
      calls_.push_back(std::move(call));
    }
    const auto transfer = [&](const ffi::Function& copy, TensorId id) {
      void* host = (*tensors)[id].data;
      const auto bytes = static_cast<int64_t>(plan.tensors[id].size_bytes);
      return BoundCall{copy, {OnDevice(plan, id), host, bytes}};
    };
    for (const auto& [id, tensor] : on_device_) {
      if (plan.tensors[id].is_constant()) transfer(copy_in_, id)();
    }
    for (TensorId id : region.inputs) transfers_in_.push_back(transfer(copy_in_, id));
    for (TensorId id : region.outputs) transfers_out_.push_back(transfer(copy_out_, id));
  }

  void Run() override {
    for (const BoundCall& transfer : transfers_in_) transfer();
    for (const BoundCall& call : calls_) call();
    // These wait for the kernels.
    for (const BoundCall& transfer : transfers_out_) transfer();
  }

 private:
  // The tensor on the device, made at the first call.
  const ffi::Tensor& OnDevice(const Plan& plan, TensorId id) {
    const auto found = on_device_.find(id);
    if (found != on_device_.end()) return found->second;
    const PlanTensor& planned = plan.tensors[id];
    const ffi::Shape shape(planned.shape.begin(), planned.shape.end());
    const BoundCall allocate{allocate_, {shape, planned.dtype, device_, nullptr}};
    return on_device_.emplace(id, allocate().cast<ffi::Tensor>()).first->second;
  }

  const DLDevice device_;
  const ffi::Function allocate_;
  const ffi::Function copy_in_;
  const ffi::Function copy_out_;
  std::map<TensorId, ffi::Tensor> on_device_;
  std::vector<BoundCall> transfers_in_;
  std::vector<BoundCall> calls_;
  std::vector<BoundCall> transfers_out_;
};

}  // namespace

std::unique_ptr<Region> MakeDeviceRegion(const Plan& plan, const PlanRegion& region,
                                         TensorViews* tensors, const KernelLookup& find_kernel) {
  return std::make_unique<DeviceRegion>(plan, region, tensors, find_kernel);
}

}  // namespace tdse
