#include "tvm_region.h"

#include <tvm/ffi/any.h>
#include <tvm/ffi/cast.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/string.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "bound_call.h"
#include "thread_pool.h"

namespace tdse {
namespace {

namespace ffi = tvm::ffi;

class TvmRegion final : public Region {
 public:
  TvmRegion(const PlanRegion& region, TensorViews* tensors, const KernelLookup& find_kernel)
      : threads_(static_cast<int>(region.threads)) {
    for (const PlanStep& step : region.steps) {
      ffi::Optional<ffi::Function> kernel = find_kernel(step.symbol);
      if (!kernel.has_value()) {
        throw std::runtime_error("no imported module has the kernel " + step.symbol);
      }
      BoundCall call{*std::move(kernel), {}};
      for (TensorId id : step.arguments) call.arguments.emplace_back(&(*tensors)[id]);
      calls_.push_back(std::move(call));
    }
  }

  void Run() override {
    UseTvmThreads(threads_);
    for (const BoundCall& call : calls_) call();
  }

 private:
  const int threads_;
  std::vector<BoundCall> calls_;
};

class InterpreterRegion final : public Region {
 public:
  InterpreterRegion(const Plan& plan, const PlanRegion& region, TensorViews* tensors) {
    const std::optional<ffi::Function> make = ffi::Function::GetGlobal("tdse.litert_interpreter");
    if (!make.has_value()) {
      throw std::runtime_error("it needs the Python package tdse, which is not loaded");
    }
    ffi::Array<int64_t> sizes;
    for (const std::vector<TensorId>* ids : {&region.inputs, &region.outputs}) {
      for (TensorId id : *ids) {
        call_.arguments.emplace_back(reinterpret_cast<int64_t>((*tensors)[id].data));
        sizes.push_back(static_cast<int64_t>(plan.tensors[id].size_bytes));
      }
    }
    const Blob& slice = plan.blobs[region.blob];
    const ffi::Bytes bytes(reinterpret_cast<const char*>(slice.data), slice.size);
    const BoundCall make_region{*make, {bytes, static_cast<int64_t>(region.threads), sizes}};
    call_.function = make_region().cast<ffi::Function>();
  }

  void Run() override { call_(); }

 private:
  BoundCall call_;
};

}  // namespace

std::unique_ptr<Region> MakeTvmRegion(const PlanRegion& region, TensorViews* tensors,
                                      const KernelLookup& find_kernel) {
  return std::make_unique<TvmRegion>(region, tensors, find_kernel);
}

std::unique_ptr<Region> MakeInterpreterRegion(const Plan& plan, const PlanRegion& region,
                                              TensorViews* tensors) {
  if (region.blob < 0) throw std::runtime_error("the region has no model");
  return std::make_unique<InterpreterRegion>(plan, region, tensors);
}

}  // namespace tdse
