// Lanes whose regions hang: what is reported, what fails, what goes on.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "executor.h"
#include "fake_region.h"
#include "lane_plans.h"
#include "plans.h"
#include "runs.h"
#include "testing.h"

namespace tdse {
namespace {

// An executor of a plan whose regions hang when they read 13, until they are let go.
class Hanging {
 public:
  explicit Hanging(Plan plan) {
    std::shared_ptr<const Plan> shared = Shared(std::move(plan));
    watched_ = shared;
    RegionFactories factories = Factories([let_go = let_go_](const std::string&, uint8_t value) {
      if (value == 13) Becomes([&] { return let_go->load(); });
      return value;
    });
    executor_ = std::make_unique<Executor>(std::move(shared), std::move(factories));
  }

  Executor* executor() { return executor_.get(); }
  void EndExecutor() { executor_.reset(); }
  bool UsesPlan() const { return !watched_.expired(); }
  // Ends when nothing of the plan is used any more; false if that takes too long.
  bool LetGo() {
    *let_go_ = true;
    return Becomes([&] { return !UsesPlan(); });
  }

 private:
  // Shared with threads that may outlast this.
  const std::shared_ptr<std::atomic<bool>> let_go_ = std::make_shared<std::atomic<bool>>(false);
  std::weak_ptr<const Plan> watched_;
  std::unique_ptr<Executor> executor_;
};

TEST(AHangIsReportedAndTheNextCallSaysWhichLaneIsGone) {
  for (const size_t lanes : {1, 2}) {
    Plan plan = Chain(lanes, 1);
    plan.lanes = LanesNamed({"slow", "fast"});
    plan.lanes.resize(lanes);
    plan.lanes[0].timeout_ms = 50;
    if (lanes == 2) plan.regions[1].lanes = {1};
    Hanging hanging(std::move(plan));
    Executor* const executor = hanging.executor();
    CHECK_EQUAL(int{Run(executor, 1)}, 1);
    CHECK_THROWS("region r0: it did not end within 50 ms; lane slow is not used any more",
                 Run(executor, 13));
    const std::string gone = "lane slow is gone: region r0 did not end within 50 ms";
    CHECK_THROWS(gone, Run(executor, 1));
    {
      Stream stream(executor);
      CHECK(Push(&stream, 1));
      CHECK_THROWS(gone, Pop(&stream));
      CHECK_THROWS(gone, executor->TimeRuns(3, {"x"}));
    }
    hanging.EndExecutor();
    // The region still hangs.
    CHECK(hanging.UsesPlan());
    CHECK(hanging.LetGo());
  }
}

TEST(TheEndDoesNotWaitForAnotherLaneThatHangs) {
  Plan plan = Branches();
  plan.lanes[0].timeout_ms = 50;
  // Hangs as well, but the caller has been told of the first lane by then.
  plan.lanes[1].timeout_ms = 300;
  Hanging hanging(std::move(plan));
  CHECK_THROWS("region a: it did not end within 50 ms; lane first", Run(hanging.executor(), 13));
  hanging.EndExecutor();
  CHECK(hanging.UsesPlan());
  CHECK(hanging.LetGo());
}

TEST(ItemsThatWaitForALaneThatHangsFail) {
  Plan plan = Chain(1, 1);
  plan.lanes = LanesNamed({"slow"});
  plan.lanes[0].timeout_ms = 50;
  Hanging hanging(std::move(plan));
  {
    Stream stream(hanging.executor());
    CHECK(Push(&stream, 13));
    CHECK(Push(&stream, 1));
    CHECK_THROWS("region r0: it did not end within 50 ms", Pop(&stream));
    CHECK_THROWS("lane slow is gone", Pop(&stream));
  }
  hanging.EndExecutor();
  CHECK(hanging.LetGo());
}

TEST(OtherCopiesGoOn) {
  Plan plan = Copies();
  for (PlanLane& lane : plan.lanes) lane.timeout_ms = 50;
  Hanging hanging(std::move(plan));
  Executor* const executor = hanging.executor();
  // Either copy may be the one that was free first.
  CHECK_THROWS("is not used any more", Run(executor, 13));
  for (uint8_t value = 0; value < 6; ++value) CHECK_EQUAL(int{Run(executor, value)}, value);
  CHECK_THROWS("is not used any more", Run(executor, 13));
  CHECK_THROWS("is gone", Run(executor, 1));
  hanging.EndExecutor();
  CHECK(hanging.LetGo());
}

TEST(ACancelledStreamEndsBesideALaneThatHangs) {
  Plan plan = Pipeline();
  for (PlanLane& lane : plan.lanes) lane.timeout_ms = 50;
  Hanging hanging(std::move(plan));
  {
    Stream stream(hanging.executor());
    for (uint8_t value = 12; value < 15; ++value) CHECK(Push(&stream, value));
  }
  hanging.EndExecutor();
  CHECK(hanging.LetGo());
}

}  // namespace
}  // namespace tdse
