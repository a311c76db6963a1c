#include "tvm_region.h"

#include <tvm/ffi/any.h>
#include <tvm/ffi/container/tensor.h>

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

}  // namespace

std::unique_ptr<Region> MakeTvmRegion(const PlanRegion& region, const KernelLookup& find_kernel) {
  return std::make_unique<TvmRegion>(region, find_kernel);
}

}  // namespace tdse
