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

class BoundTvmRegion final : public BoundRegion {
 public:
  BoundTvmRegion(int threads, std::vector<BoundCall> calls)
      : threads_(threads), calls_(std::move(calls)) {}

  void Run() override {
    UseTvmThreads(threads_);
    for (const BoundCall& call : calls_) call();
  }

 private:
  const int threads_;
  const std::vector<BoundCall> calls_;
};

class TvmRegion final : public Region {
 public:
  TvmRegion(const PlanRegion& region, const KernelLookup& find_kernel) : region_(region) {
    for (const PlanStep& step : region.steps) {
      ffi::Optional<ffi::Function> kernel = find_kernel(step.symbol);
      if (!kernel.has_value()) {
        throw std::runtime_error("no imported module has the kernel " + step.symbol);
      }
      kernels_.push_back(*std::move(kernel));
    }
  }

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    std::vector<BoundCall> calls;
    for (size_t i = 0; i < kernels_.size(); ++i) {
      calls.push_back({kernels_[i], {}});
      for (TensorId id : region_.steps[i].arguments) {
        // A packed function takes tensors that it could change.
        calls.back().arguments.emplace_back(const_cast<DLTensor*>(&tensors[id]));
      }
    }
    return std::make_unique<BoundTvmRegion>(static_cast<int>(region_.threads), std::move(calls));
  }

 private:
  const PlanRegion& region_;
  std::vector<ffi::Function> kernels_;
};

class BoundInterpreterRegion final : public BoundRegion {
 public:
  explicit BoundInterpreterRegion(BoundCall call) : call_(std::move(call)) {}

  void Run() override { call_(); }

 private:
  const BoundCall call_;
};

class InterpreterRegion final : public Region {
 public:
  InterpreterRegion(const Plan& plan, const PlanRegion& region) : region_(region) {
    const std::optional<ffi::Function> make = ffi::Function::GetGlobal("tdse.litert_interpreter");
    if (!make.has_value()) {
      throw std::runtime_error("it needs the Python package tdse, which is not loaded");
    }
    ffi::Array<int64_t> sizes;
    for (const std::vector<TensorId>* ids : {&region.inputs, &region.outputs}) {
      for (TensorId id : *ids) sizes.push_back(static_cast<int64_t>(plan.tensors[id].size_bytes));
    }
    const Blob& slice = plan.blobs[region.blob];
    const ffi::Bytes bytes(reinterpret_cast<const char*>(slice.data), slice.size);
    const BoundCall make_region{*make, {bytes, static_cast<int64_t>(region.threads), sizes}};
    run_ = make_region().cast<ffi::Function>();
  }

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    BoundCall call{run_, {}};
    for (const std::vector<TensorId>* ids : {&region_.inputs, &region_.outputs}) {
      for (TensorId id : *ids) {
        call.arguments.emplace_back(reinterpret_cast<int64_t>(tensors[id].data));
      }
    }
    return std::make_unique<BoundInterpreterRegion>(std::move(call));
  }

 private:
  const PlanRegion& region_;
  ffi::Function run_;
};

}  // namespace

std::unique_ptr<Region> MakeTvmRegion(const PlanRegion& region, const KernelLookup& find_kernel) {
  return std::make_unique<TvmRegion>(region, find_kernel);
}

std::unique_ptr<Region> MakeInterpreterRegion(const Plan& plan, const PlanRegion& region) {
  if (region.blob < 0) throw std::runtime_error("the region has no model");
  return std::make_unique<InterpreterRegion>(plan, region);
}

}  // namespace tdse
