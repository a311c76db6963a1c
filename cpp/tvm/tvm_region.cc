#include "tvm_region.h"

#include <tvm/ffi/any.h>
#include <tvm/ffi/container/tensor.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bound_call.h"
#include "helpers.h"

namespace tdse {
namespace {

namespace ffi = tvm::ffi;

// For each thread, so many parts: one that comes late finds some left, and all end at about the
// same time.
constexpr int64_t kPartsPerThread = 4;

class BoundTvmRegion final : public BoundRegion {
 public:
  // Each step is one call, or the calls of its parts.
  BoundTvmRegion(uint32_t threads, std::vector<std::vector<BoundCall>> steps)
      : threads_(threads), steps_(std::move(steps)) {
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (steps_[i].size() > 1) n_until_rest_ = i + 1;
    }
  }

  void Run() override {
    for (size_t i = 0; i < steps_.size(); ++i) {
      const std::vector<BoundCall>& calls = steps_[i];
      if (calls.size() == 1) {
        calls[0]();
        continue;
      }
      Helpers& helpers = Helpers::OfThisThread();
      const auto run = [&calls](uint32_t part) { calls[part](); };
      helpers.Divide(threads_, static_cast<uint32_t>(calls.size()), run);
      if (i + 1 == n_until_rest_) helpers.Rest();
    }
  }

 private:
  const uint32_t threads_;
  const std::vector<std::vector<BoundCall>> steps_;
  size_t n_until_rest_ = 0;  // steps up to the last one that is divided
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
    std::vector<std::vector<BoundCall>> steps;
    for (size_t i = 0; i < kernels_.size(); ++i) {
      BoundCall call{kernels_[i], {}};
      for (TensorId id : region_.steps[i].arguments) {
        // A packed function takes tensors that it could change.
        call.arguments.emplace_back(const_cast<DLTensor*>(&tensors[id]));
      }
      steps.push_back(PartsOf(call, region_.steps[i].iterations));
    }
    return std::make_unique<BoundTvmRegion>(region_.threads, std::move(steps));
  }

 private:
  // The call itself, or calls of parts of its outermost loop.
  std::vector<BoundCall> PartsOf(const BoundCall& call, int64_t iterations) const {
    if (iterations == 0) return {call};
    const int64_t wanted = region_.threads > 1 ? kPartsPerThread * region_.threads : 1;
    const int64_t count = std::min(wanted, iterations);
    std::vector<BoundCall> parts(count, call);
    for (int64_t part = 0; part < count; ++part) {
      parts[part].arguments.emplace_back(iterations * part / count);
      parts[part].arguments.emplace_back(iterations * (part + 1) / count);
    }
    return parts;
  }

  const PlanRegion& region_;
  std::vector<ffi::Function> kernels_;
};

}  // namespace

std::unique_ptr<Region> MakeTvmRegion(const PlanRegion& region, const KernelLookup& find_kernel) {
  return std::make_unique<TvmRegion>(region, find_kernel);
}

}  // namespace tdse
