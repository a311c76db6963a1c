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

// A region on its device: kernels, constants, and memory for all that the kernels touch.
class OnDevice {
 public:
  OnDevice(const Plan& plan, const PlanRegion& region, const KernelLookup& find_kernel)
      : plan_(plan),
        device_(region.device()),
        allocate_(RuntimeFunction("runtime.TVMTensorAllocWithScope")),
        copy_in_(RuntimeFunction("runtime.TVMTensorCopyFromBytes")),
        copy_out_(RuntimeFunction("runtime.TVMTensorCopyToBytes")) {
    for (const PlanStep& step : region.steps) {
      ffi::Optional<ffi::Function> kernel = find_kernel(step.symbol);
      if (!kernel.has_value()) {
        throw std::runtime_error("no imported module has the kernel " + step.symbol);
      }
      BoundCall launch{*std::move(kernel), {}};
      for (TensorId id : step.arguments) launch.arguments.emplace_back(Tensor(id));
      launches_.push_back(std::move(launch));
    }
    for (const auto& [id, tensor] : tensors_) {
      const PlanTensor& planned = plan.tensors[id];
      if (!planned.is_constant()) continue;
      // TVM has no type for an address that is only read from.
      CopyIn(id, const_cast<uint8_t*>(plan.blobs[planned.constant_blob].data))();
    }
  }

  // In order; they do not wait for the device.
  const std::vector<BoundCall>& launches() const { return launches_; }

  // From an address on the host, and to one; the latter waits for the launches before it.
  BoundCall CopyIn(TensorId id, void* host) { return Copy(copy_in_, id, host); }
  BoundCall CopyOut(TensorId id, void* host) { return Copy(copy_out_, id, host); }

 private:
  BoundCall Copy(const ffi::Function& copy, TensorId id, void* host) {
    return {copy, {Tensor(id), host, static_cast<int64_t>(plan_.tensors[id].size_bytes)}};
  }

  // Made at the first call.
  const ffi::Tensor& Tensor(TensorId id) {
    const auto found = tensors_.find(id);
    if (found != tensors_.end()) return found->second;
    const PlanTensor& planned = plan_.tensors[id];
    const ffi::Shape shape(planned.shape.begin(), planned.shape.end());
    const BoundCall allocate{allocate_, {shape, planned.dtype, device_, nullptr}};
    return tensors_.emplace(id, allocate().cast<ffi::Tensor>()).first->second;
  }

  const Plan& plan_;
  const DLDevice device_;
  const ffi::Function allocate_;
  const ffi::Function copy_in_;
  const ffi::Function copy_out_;
  std::map<TensorId, ffi::Tensor> tensors_;
  std::vector<BoundCall> launches_;
};

// Such a region with the addresses of its inputs and outputs on the host.
class BoundDeviceRegion final : public BoundRegion {
 public:
  BoundDeviceRegion(const PlanRegion& region, const TensorViews& tensors, OnDevice* on_device)
      : on_device_(*on_device) {
    for (TensorId id : region.inputs) {
      copies_in_.push_back(on_device->CopyIn(id, tensors[id].data));
    }
    for (TensorId id : region.outputs) {
      copies_out_.push_back(on_device->CopyOut(id, tensors[id].data));
    }
  }

  void Run() override {
    for (const BoundCall& copy : copies_in_) copy();
    for (const BoundCall& launch : on_device_.launches()) launch();
    for (const BoundCall& copy : copies_out_) copy();
  }

 private:
  const OnDevice& on_device_;
  std::vector<BoundCall> copies_in_;
  std::vector<BoundCall> copies_out_;
};

// All frames share the memory on the device: a run is over when it returns.
class DeviceRegion final : public Region {
 public:
  DeviceRegion(const Plan& plan, const PlanRegion& region, const KernelLookup& find_kernel)
      : region_(region), on_device_(plan, region, find_kernel) {}

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    return std::make_unique<BoundDeviceRegion>(region_, tensors, &on_device_);
  }

 private:
  const PlanRegion& region_;
  OnDevice on_device_;
};

}  // namespace

std::unique_ptr<Region> MakeDeviceRegion(const Plan& plan, const PlanRegion& region,
                                         const KernelLookup& find_kernel) {
  return std::make_unique<DeviceRegion>(plan, region, find_kernel);
}

}  // namespace tdse
