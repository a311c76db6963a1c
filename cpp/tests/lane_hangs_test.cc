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

// A region that hangs when it reads 13, until it is let go.
class Hanging {
 public:
  RegionFactories factories() {
    return Factories([let_go = let_go_](const std::string&, uint8_t value) {
      if (value == 13) Becomes([&] { return let_go->load(); });
      return value;
    });
  }
  void LetGo() { *let_go_ = true; }

 private:
  // Shared with threads that may outlast this.
  const std::shared_ptr<std::atomic<bool>> let_go_ = std::make_shared<std::atomic<bool>>(false);
};

// Ends when nothing of `plan` is used any more.
bool IsDropped(const std::weak_ptr<const Plan>& plan) {
  return Becomes([&] { return plan.expired(); });
}

TEST(AHangIsReportedAndTheNextCallSaysWhichLaneIsGone) {
  for (const size_t lanes : {1, 2}) {
    Hanging hanging;
    Plan plan = Chain(lanes, 1);
    plan.lanes = LanesNamed({"slow", "fast"});
    plan.lanes.resize(lanes);
    plan.lanes[0].timeout_ms = 50;
    if (lanes == 2) plan.regions[1].lanes = {1};
    std::shared_ptr<const Plan> shared = Shared(plan);
    const std::weak_ptr<const Plan> watched = shared;
    {
      Executor executor(std::move(shared), hanging.factories());
      CHECK_EQUAL(int{Run(&executor, 1)}, 1);
      CHECK_THROWS("region r0: it did not end within 50 ms; lane slow is not used any more",
                   Run(&executor, 13));
      const std::string gone = "lane slow is gone: region r0 did not end within 50 ms";
      CHECK_THROWS(gone, Run(&executor, 1));
      Stream stream(&executor);
      CHECK(Push(&stream, 1));
      CHECK_THROWS(gone, Pop(&stream));
      CHECK_THROWS(gone, executor.TimeRuns(3, {"x"}));
    }
    // The executor is gone, and the region still hangs.
    CHECK(!watched.expired());
    hanging.LetGo();
    CHECK(IsDropped(watched));
  }
}

TEST(TheEndDoesNotWaitForAnotherLaneThatHangs) {
  Hanging hanging;
  Plan plan = Branches();
  plan.lanes[0].timeout_ms = 50;
  // Hangs as well, but the caller has been told of the first lane by then.
  plan.lanes[1].timeout_ms = 300;
  std::shared_ptr<const Plan> shared = Shared(plan);
  const std::weak_ptr<const Plan> watched = shared;
  {
    Executor executor(std::move(shared), hanging.factories());
    CHECK_THROWS("region a: it did not end within 50 ms; lane first", Run(&executor, 13));
  }
  CHECK(!watched.expired());
  hanging.LetGo();
  CHECK(IsDropped(watched));
}

TEST(ItemsThatWaitForALaneThatHangsFail) {
  Hanging hanging;
  Plan plan = Chain(1, 1);
  plan.lanes = LanesNamed({"slow"});
  plan.lanes[0].timeout_ms = 50;
  std::shared_ptr<const Plan> shared = Shared(plan);
  const std::weak_ptr<const Plan> watched = shared;
  {
    Executor executor(std::move(shared), hanging.factories());
    Stream stream(&executor);
    CHECK(Push(&stream, 13));
    CHECK(Push(&stream, 1));
    CHECK_THROWS("region r0: it did not end within 50 ms", Pop(&stream));
    CHECK_THROWS("lane slow is gone", Pop(&stream));
  }
  hanging.LetGo();
  CHECK(IsDropped(watched));
}

TEST(OtherCopiesGoOn) {
  Hanging hanging;
  Plan plan = Copies();
  for (PlanLane& lane : plan.lanes) lane.timeout_ms = 50;
  std::shared_ptr<const Plan> shared = Shared(plan);
  const std::weak_ptr<const Plan> watched = shared;
  {
    Executor executor(std::move(shared), hanging.factories());
    // Either copy may be the one that was free first.
    CHECK_THROWS("is not used any more", Run(&executor, 13));
    for (uint8_t value = 0; value < 6; ++value) CHECK_EQUAL(int{Run(&executor, value)}, value);
    CHECK_THROWS("is not used any more", Run(&executor, 13));
    CHECK_THROWS("is gone", Run(&executor, 1));
  }
  hanging.LetGo();
  CHECK(IsDropped(watched));
}

TEST(ACancelledStreamEndsBesideALaneThatHangs) {
  Hanging hanging;
  Plan plan = Pipeline();
  for (PlanLane& lane : plan.lanes) lane.timeout_ms = 50;
  std::shared_ptr<const Plan> shared = Shared(plan);
  const std::weak_ptr<const Plan> watched = shared;
  {
    Executor executor(std::move(shared), hanging.factories());
    Stream stream(&executor);
    for (uint8_t value = 12; value < 15; ++value) CHECK(Push(&stream, value));
  }
  hanging.LetGo();
  CHECK(IsDropped(watched));
}

}  // namespace
}  // namespace tdse
