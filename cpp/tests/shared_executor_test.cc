// Threads that call at once, and processes that fork.
#include "shared_executor.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "child.h"
#include "fake_region.h"
#include "plans.h"
#include "runs.h"
#include "testing.h"

namespace tdse {
namespace {

template <typename Work>
void RunThreads(int count, const Work& work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

TEST(EightThreadsOnOneExecutor) {
  const Plan plan = Chain(10, 200);
  std::atomic<int> made{0};
  const RegionFactory fake = FakeFactories(plan).at("fake");
  SharedExecutor shared(Shared(plan), {{"fake", [&](const Plan& whole, const PlanRegion& region) {
                                          ++made;
                                          return fake(whole, region);
                                        }}});
  std::atomic<int> wrong{0};
  RunThreads(8, [&](int thread) {
    const Values inputs = RandomInputs(plan, static_cast<uint32_t>(thread));
    const Values expected = ExpectedOutputs(plan, inputs);
    for (int i = 0; i < 200; ++i) {
      if (RunExecutor(&shared.Get(), plan, inputs) != expected) ++wrong;
    }
  });
  CHECK_EQUAL(wrong.load(), 0);
  CHECK_EQUAL(made.load(), 10);
}

TEST(EightThreadsOnExecutorsOfOnePlan) {
  const Plan plan = ExamplePlan();
  std::atomic<int> wrong{0};
  RunThreads(8, [&](int thread) {
    const Values inputs = RandomInputs(plan, static_cast<uint32_t>(thread));
    const Values expected = ExpectedOutputs(plan, inputs);
    for (int i = 0; i < 50; ++i) {
      SharedExecutor own(Shared(plan), FakeFactories(plan));
      if (RunExecutor(&own.Get(), plan, inputs) != expected) ++wrong;
    }
  });
  CHECK_EQUAL(wrong.load(), 0);
}

TEST(AFailureLeavesTheExecutorUsable) {
  const Plan plan = Chain(1, 1);
  int calls = 0;
  SharedExecutor shared(Shared(plan), {{"fake", [&](const Plan& whole, const PlanRegion& region) {
                                          if (++calls == 1) throw std::runtime_error("not yet");
                                          return FakeFactories(whole).at("fake")(whole, region);
                                        }}});
  CHECK_THROWS("region r0: not yet", shared.Get());
  const Values inputs = RandomInputs(plan, 0);
  CHECK(RunExecutor(&shared.Get(), plan, inputs) == ExpectedOutputs(plan, inputs));
}

// A region whose end would wait for a thread for ever, in a process that does not have it.
class WaitingRegion final : public Region {
 public:
  explicit WaitingRegion(std::function<void()> run) : run_(std::move(run)) {}
  ~WaitingRegion() override {
    ends_ = true;
    thread_.join();
  }

  std::unique_ptr<BoundRegion> Bind(const TensorViews& tensors) override {
    bound_ = RegionOf([this](const TensorViews&) { run_(); });
    return bound_->Bind(tensors);
  }

 private:
  const std::function<void()> run_;
  std::unique_ptr<Region> bound_;
  std::atomic<bool> ends_{false};
  std::thread thread_{[this] {
    while (!ends_) std::this_thread::yield();
  }};
};

// With one lane, which runs on the caller's thread, and with two, which have threads of their own.
TEST(AForkedProcessIsRefusedAndEnds) {
  for (const size_t lanes : {1, 2}) {
    Plan plan = Chain(1, 1);
    plan.lanes.resize(lanes);
    std::atomic<bool> inside{false};
    std::atomic<bool> forked{false};
    const auto run = [&] {
      inside = true;
      while (!forked) std::this_thread::yield();
    };
    auto shared = std::make_unique<SharedExecutor>(
        Shared(plan), RegionFactories{{"fake", [&](const Plan&, const PlanRegion&) {
                                         return std::make_unique<WaitingRegion>(run);
                                       }}});
    const Values inputs = RandomInputs(plan, 0);
    // Another thread is in a call while this one forks.
    std::thread busy([&] { RunExecutor(&shared->Get(), plan, inputs); });
    while (!inside) std::this_thread::yield();
    const std::string said = InChild([&] {
      std::string error = "nothing";
      try {
        shared->Get();
      } catch (const std::runtime_error& refused) {
        error = refused.what();
      }
      shared.reset();
      return error;
    });
    forked = true;
    busy.join();
    CHECK_EQUAL(said,
                "the model was loaded before this process was forked, and cannot run in it; load "
                "it again in the new process");
    RunExecutor(&shared->Get(), plan, inputs);
  }
}

TEST(AForkedProcessHasExecutorsOfItsOwn) {
  const Plan plan = Chain(3, 8);
  SharedExecutor before(Shared(plan), FakeFactories(plan));
  const std::string said = InChild([&] {
    SharedExecutor shared(Shared(plan), FakeFactories(plan));
    const Values inputs = RandomInputs(plan, 0);
    const bool right = RunExecutor(&shared.Get(), plan, inputs) == ExpectedOutputs(plan, inputs);
    return std::string(right ? "right" : "wrong");
  });
  CHECK_EQUAL(said, "right");
}

}  // namespace
}  // namespace tdse
