// Threads that call at once, and processes that fork.
#include "shared_executor.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
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
  SharedExecutor shared(
      plan, {{"fake", [&](const Plan& whole, const PlanRegion& region, TensorViews* tensors) {
                ++made;
                return fake(whole, region, tensors);
              }}});
  std::atomic<int> wrong{0};
  RunThreads(8, [&](int thread) {
    const Values inputs = RandomInputs(plan, static_cast<uint32_t>(thread));
    const Values expected = ExpectedOutputs(plan, inputs);
    for (int i = 0; i < 200; ++i) {
      shared.Use([&](Executor& executor) {
        if (RunExecutor(&executor, plan, inputs) != expected) ++wrong;
      });
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
      SharedExecutor own(plan, FakeFactories(plan));
      own.Use([&](Executor& executor) {
        if (RunExecutor(&executor, plan, inputs) != expected) ++wrong;
      });
    }
  });
  CHECK_EQUAL(wrong.load(), 0);
}

TEST(AFailureLeavesTheExecutorUsable) {
  const Plan plan = Chain(1, 1);
  int calls = 0;
  SharedExecutor shared(
      plan, {{"fake", [&](const Plan& whole, const PlanRegion& region, TensorViews* tensors) {
                if (++calls == 1) throw std::runtime_error("not yet");
                return FakeFactories(whole).at("fake")(whole, region, tensors);
              }}});
  CHECK_THROWS("region r0: not yet", shared.Use([](Executor&) {}));
  CHECK_THROWS("by the caller",
               shared.Use([](Executor&) { throw std::runtime_error("by the caller"); }));
  const Values inputs = RandomInputs(plan, 0);
  shared.Use([&](Executor& executor) {
    CHECK(RunExecutor(&executor, plan, inputs) == ExpectedOutputs(plan, inputs));
  });
}

// A region whose end would wait for a thread for ever, in a process that does not have it.
class WaitingRegion final : public Region {
 public:
  ~WaitingRegion() override {
    ends_ = true;
    thread_.join();
  }
  void Run() override {}

 private:
  std::atomic<bool> ends_{false};
  std::thread thread_{[this] {
    while (!ends_) std::this_thread::yield();
  }};
};

TEST(AForkedProcessIsRefusedAndEnds) {
  const Plan plan = Chain(1, 1);
  auto shared = std::make_unique<SharedExecutor>(
      plan, RegionFactories{{"fake", [](const Plan&, const PlanRegion&, TensorViews*) {
                               return std::make_unique<WaitingRegion>();
                             }}});
  shared->Use([](Executor&) {});
  // Another thread is in a call while this one forks.
  std::atomic<bool> inside{false};
  std::atomic<bool> forked{false};
  std::thread busy([&] {
    shared->Use([&](Executor&) {
      inside = true;
      while (!forked) std::this_thread::yield();
    });
  });
  while (!inside) std::this_thread::yield();
  const std::string said = InChild([&] {
    std::string error = "nothing";
    try {
      shared->Use([](Executor&) {});
    } catch (const std::runtime_error& refused) {
      error = refused.what();
    }
    shared.reset();
    return error;
  });
  forked = true;
  busy.join();
  CHECK_EQUAL(said,
              "the model was loaded before this process was forked, and cannot run in it; load it "
              "again in the new process");
  bool used = false;
  shared->Use([&](Executor&) { used = true; });
  CHECK(used);
}

TEST(AForkedProcessHasExecutorsOfItsOwn) {
  const Plan plan = Chain(3, 8);
  SharedExecutor before(plan, FakeFactories(plan));
  const std::string said = InChild([&] {
    SharedExecutor shared(plan, FakeFactories(plan));
    const Values inputs = RandomInputs(plan, 0);
    std::string result = "not called";
    shared.Use([&](Executor& executor) {
      const bool right = RunExecutor(&executor, plan, inputs) == ExpectedOutputs(plan, inputs);
      result = right ? "right" : "wrong";
    });
    return result;
  });
  CHECK_EQUAL(said, "right");
}

}  // namespace
}  // namespace tdse
