#include "kernel_region.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "helpers.h"

namespace tdse {
namespace {

// For each thread, so many parts: one that comes late finds some left, and all end at about the
// same time.
constexpr int64_t kPartsPerThread = 4;

TVMFFIAny TensorArgument(const DLTensor& tensor) {
  TVMFFIAny argument{};
  argument.type_index = kTVMFFIDLTensorPtr;
  // A kernel takes tensors that it could change.
  argument.v_ptr = const_cast<DLTensor*>(&tensor);
  return argument;
}

TVMFFIAny NumberArgument(int64_t value) {
  TVMFFIAny argument{};
  argument.type_index = kTVMFFIInt;
  argument.v_int64 = value;
  return argument;
}

// Whether regions of other libraries want the CPUs that helpers spin on. Where there are none, what
// runs next are these kernels again, and who is still awake need not be woken, which takes 60 us.
bool SharesCpus(const Plan& plan, const PlanRegion& region) {
  return std::any_of(plan.regions.begin(), plan.regions.end(),
                     [&](const PlanRegion& other) { return other.kind != region.kind; });
}

// A kernel with the arguments of all its calls.
struct KernelCall {
  const Kernel* kernel;
  const KernelSource* source;
  std::vector<TVMFFIAny> arguments;

  void operator()() const {
    TVMFFIAny result{};
    const int status = kernel->call(kernel->self, arguments.data(),
                                    static_cast<int32_t>(arguments.size()), &result);
    if (status != 0) throw std::runtime_error(source->error());
  }
};

class BoundKernelRegion final : public BoundRegion {
 public:
  // Each step is one call, or the calls of its parts. Helpers that `rest` sleep at once after the
  // last of these.
  BoundKernelRegion(uint32_t threads, std::vector<std::vector<KernelCall>> steps, bool rest)
      : threads_(threads), steps_(std::move(steps)) {
    for (size_t i = 0; i < steps_.size() && rest; ++i) {
      if (steps_[i].size() > 1) n_until_rest_ = i + 1;
    }
  }

  void Run() override {
    for (size_t i = 0; i < steps_.size(); ++i) {
      const std::vector<KernelCall>& calls = steps_[i];
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
  const std::vector<std::vector<KernelCall>> steps_;
  size_t n_until_rest_ = 0;  // steps up to the last one that is divided, if helpers rest then
};

class KernelRegion final : public Region {
 public:
  KernelRegion(const Plan& plan, const PlanRegion& region, KernelSource kernels)
      : region_(region), helpers_rest_(SharesCpus(plan, region)), source_(std::move(kernels)) {
    for (const PlanStep& step : region.steps) {
      kernels_.push_back(source_.find(step.symbol));
      if (kernels_.back().call == nullptr) {
        throw std::runtime_error("no imported module has the kernel " + step.symbol);
      }
    }
  }

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    std::vector<std::vector<KernelCall>> steps;
    for (size_t i = 0; i < kernels_.size(); ++i) {
      KernelCall call{&kernels_[i], &source_, {}};
      for (TensorId id : region_.steps[i].arguments) {
        call.arguments.push_back(TensorArgument(tensors[id]));
      }
      steps.push_back(PartsOf(call, region_.steps[i].iterations));
    }
    return std::make_unique<BoundKernelRegion>(region_.threads, std::move(steps), helpers_rest_);
  }

 private:
  // The call itself, or calls of parts of its outermost loop.
  std::vector<KernelCall> PartsOf(const KernelCall& call, int64_t iterations) const {
    if (iterations == 0) return {call};
    const int64_t wanted = region_.threads > 1 ? kPartsPerThread * region_.threads : 1;
    const int64_t count = std::min(wanted, iterations);
    std::vector<KernelCall> parts(count, call);
    for (int64_t part = 0; part < count; ++part) {
      parts[part].arguments.push_back(NumberArgument(iterations * part / count));
      parts[part].arguments.push_back(NumberArgument(iterations * (part + 1) / count));
    }
    return parts;
  }

  const PlanRegion& region_;
  const bool helpers_rest_;
  const KernelSource source_;
  std::vector<Kernel> kernels_;
};

}  // namespace

std::unique_ptr<Region> MakeKernelRegion(const Plan& plan, const PlanRegion& region,
                                         const KernelSource& kernels) {
  return std::make_unique<KernelRegion>(plan, region, kernels);
}

}  // namespace tdse
