#include "run_plan.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "buffers.h"
#include "emulated_region.h"
#include "litert_api.h"
#include "litert_region.h"
#include "plan.h"
#include "process_mark.h"
#include "shared_executor.h"

namespace tdse {
namespace {

const RegionFactories& LiteRtFactories() {
  static const RegionFactories factories = {{"litert", MakeLiteRtRegion}};
  return factories;
}

RegionFactories AllFactories() {
  RegionFactories all = LiteRtFactories();
  all["emulated"] = [](const Plan& plan, const PlanRegion& region) {
    return MakeEmulatedRegion(plan, region, LiteRtFactories());
  };
  return all;
}

// Whether LiteRT can use memory of a caller as it is: aligned, and XNNPACK, which reads a little
// past the end of tensors, does not come to a page that may not be there.
bool IsUsable(const void* data, size_t size) {
  constexpr uintptr_t kPageBytes = 4096;
  const auto first = reinterpret_cast<uintptr_t>(data);
  const uintptr_t last = first + (size == 0 ? 0 : size - 1);
  return first % kBufferAlignment == 0 && last % kPageBytes + kBufferPadding < kPageBytes;
}

// The only region of a plan, bound to memory of the caller, which is the same in most calls.
class InPlace {
 public:
  explicit InPlace(const Plan& plan)
      : plan_(plan), region_(MakeLiteRtRegion(plan, plan.regions[0])) {}

  void Run(const std::vector<void*>& addresses) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (process_.IsOfAnotherProcess()) {
      throw std::runtime_error("this process was forked after its regions were made");
    }
    if (bound_ == nullptr || addresses != addresses_) {
      bound_.reset();
      addresses_ = addresses;
      TensorViews views(plan_.tensors.size());
      size_t next = 0;
      for (const TensorId id : plan_.inputs) views[id].data = addresses_[next++];
      for (const TensorId id : plan_.outputs) views[id].data = addresses_[next++];
      bound_ = region_->Bind(views);
    }
    bound_->Run();
  }

 private:
  const Plan& plan_;
  const ProcessMark process_;
  const std::unique_ptr<Region> region_;
  std::mutex mutex_;
  std::vector<void*> addresses_;
  std::unique_ptr<BoundRegion> bound_;
};

// A plan, and what runs it: its region where the tensors lie, or an executor, which copies them.
class Loaded {
 public:
  Loaded(const uint8_t* data, size_t size)
      : plan_(std::make_shared<const Plan>(ParsePlan(data, size))),
        executor_(plan_, AllFactories()) {}

  void Run(void* const* tensors) {
    const size_t n_inputs = plan_->inputs.size();
    const size_t n_tensors = n_inputs + plan_->outputs.size();
    const std::vector<void*> addresses(tensors, tensors + n_tensors);
    if (AreUsable(addresses)) {
      std::call_once(made_, [this] { in_place_ = std::make_unique<InPlace>(*plan_); });
      in_place_->Run(addresses);
      return;
    }
    executor_.Get().Run({addresses.begin(), addresses.begin() + n_inputs},
                        {addresses.begin() + n_inputs, addresses.end()});
  }

 private:
  bool AreUsable(const std::vector<void*>& addresses) const {
    if (plan_->regions.size() != 1 || plan_->regions[0].kind != "litert") return false;
    std::vector<TensorId> ids = plan_->inputs;
    ids.insert(ids.end(), plan_->outputs.begin(), plan_->outputs.end());
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!IsUsable(addresses[i], plan_->tensors[ids[i]].size_bytes)) return false;
    }
    return true;
  }

  const std::shared_ptr<const Plan> plan_;
  SharedExecutor executor_;
  std::once_flag made_;
  std::unique_ptr<InPlace> in_place_;
};

Loaded* LoadedOnce(void** executor, const uint8_t* plan, size_t size, const char* litert) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  if (*executor == nullptr) {
    litert::SetLibrary(access(litert, R_OK) == 0 ? litert : "libLiteRt.so");
    *executor = new Loaded(plan, size);
  }
  return static_cast<Loaded*>(*executor);
}

// TVM 0.x has its interface in C; which library of the process it is in does not matter.
void TellTvm(const std::string& message) {
  using SetLastError = void (*)(const char*);
  const auto tell = reinterpret_cast<SetLastError>(dlsym(RTLD_DEFAULT, "TVMAPISetLastError"));
  if (tell != nullptr) {
    tell(message.c_str());
  } else {
    std::fprintf(stderr, "%s\n", message.c_str());
  }
}

}  // namespace
}  // namespace tdse

int32_t tdse_run_plan(void** executor, const uint8_t* plan, uint64_t size, const char* litert,
                      void* const* tensors) {
  try {
    tdse::LoadedOnce(executor, plan, size, litert)->Run(tensors);
    return 0;
  } catch (const std::exception& error) {
    tdse::TellTvm(std::string("tdse: ") + error.what());
    return -1;
  }
}
