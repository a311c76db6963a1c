#include "run_plan.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "emulated_region.h"
#include "litert_api.h"
#include "litert_region.h"
#include "plan.h"
#include "shared_executor.h"

namespace tdse {
namespace {

// A plan and its executor.
class Loaded {
 public:
  Loaded(const uint8_t* data, size_t size)
      : plan_(std::make_shared<const Plan>(ParsePlan(data, size))), executor_(plan_, Factories()) {}

  void Run(void* const* tensors) {
    const size_t n_inputs = plan_->inputs.size();
    executor_.Get().Run(
        std::vector<const void*>(tensors, tensors + n_inputs),
        std::vector<void*>(tensors + n_inputs, tensors + n_inputs + plan_->outputs.size()));
  }

 private:
  static RegionFactories Factories() {
    const RegionFactories litert = {{"litert", MakeLiteRtRegion}};
    RegionFactories all = litert;
    all["emulated"] = [litert](const Plan& plan, const PlanRegion& region) {
      return MakeEmulatedRegion(plan, region, litert);
    };
    return all;
  }

  const std::shared_ptr<const Plan> plan_;
  SharedExecutor executor_;
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
