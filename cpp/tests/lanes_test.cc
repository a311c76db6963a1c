// Regions of several lanes: side by side, on their CPUs, asleep when idle, traced and timed.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "executor.h"
#include "fake_region.h"
#include "lane_plans.h"
#include "plans.h"
#include "runs.h"
#include "testing.h"

namespace tdse {
namespace {

TEST(BranchesRunSideBySide) {
  Meeting meeting;
  std::atomic<int> alone{0};
  Executor executor(Shared(Branches()), Factories([&](const std::string& region, uint8_t value) {
                      if (region == "join") return value;
                      if (!meeting.Meet()) ++alone;
                      return static_cast<uint8_t>(region == "a" ? value : 2 * value);
                    }));
  for (uint8_t value = 0; value < 20; ++value) CHECK_EQUAL(int{Run(&executor, value)}, 3 * value);
  CHECK_EQUAL(alone.load(), 0);
}

TEST(StagesOfAPipelineRunSideBySide) {
  // r0 of an item only ends while r1 of the one before it runs.
  Meeting meeting;
  std::atomic<int> alone{0};
  Executor executor(Shared(Pipeline()), Factories([&](const std::string& region, uint8_t value) {
                      const bool is_first_item = region == "r0" && value == 0;
                      const bool is_last_item = region == "r1" && value == 20;
                      if (!is_first_item && !is_last_item && !meeting.Meet()) ++alone;
                      return static_cast<uint8_t>(region == "r0" ? value + 1 : value);
                    }));
  Stream stream(&executor);
  CHECK(Push(&stream, 0));
  for (uint8_t value = 1; value < 20; ++value) {
    CHECK(Push(&stream, value));
    CHECK_EQUAL(int{Pop(&stream)}, value);
  }
  CHECK_EQUAL(int{Pop(&stream)}, 20);
  CHECK_EQUAL(alone.load(), 0);
}

TEST(CopiesRunSideBySide) {
  Meeting meeting;
  std::atomic<int> alone{0};
  Executor executor(Shared(Copies()), Factories([&](const std::string&, uint8_t value) {
                      if (!meeting.Meet()) ++alone;
                      return value;
                    }));
  Stream stream(&executor);
  for (uint8_t value = 0; value < 20; value += 2) {
    CHECK(Push(&stream, value));
    CHECK(Push(&stream, static_cast<uint8_t>(value + 1)));
    CHECK_EQUAL(int{Pop(&stream)}, value);
    CHECK_EQUAL(int{Pop(&stream)}, value + 1);
  }
  CHECK_EQUAL(alone.load(), 0);
}

TEST(ALaneThatIsSlowDoesNotHoldUpItems) {
  // The first item only ends when all others that may be on their way have ended on the other lane.
  std::atomic<int> others{0};
  std::atomic<bool> were_held_up{false};
  Executor executor(Shared(Copies()), Factories([&](const std::string&, uint8_t value) {
                      if (value == 0) were_held_up = !Becomes([&] { return others == 3; });
                      if (value != 0) ++others;
                      return value;
                    }));
  Stream stream(&executor);
  for (uint8_t value = 0; value < 4; ++value) CHECK(Push(&stream, value));
  for (uint8_t value = 0; value < 4; ++value) CHECK_EQUAL(int{Pop(&stream)}, value);
  CHECK(!were_held_up);
}

TEST(TheRegionsOfAnItemStayOnTheLaneThatTookIt) {
  Plan plan = Chain(3, 1);
  plan.lanes = LanesNamed({"first", "second"});
  for (PlanRegion& region : plan.regions) region.lanes = {0, 1};
  std::mutex mutex;
  std::vector<std::set<std::thread::id>> threads(40);
  Executor executor(Shared(plan), Factories([&](const std::string&, uint8_t value) {
                      const std::lock_guard<std::mutex> lock(mutex);
                      threads[value].insert(std::this_thread::get_id());
                      return value;
                    }));
  Stream stream(&executor);
  uint8_t popped = 0;
  for (uint8_t value = 0; value < threads.size(); ++value) {
    while (!Push(&stream, value)) CHECK_EQUAL(int{Pop(&stream)}, popped++);
  }
  while (popped < threads.size()) CHECK_EQUAL(int{Pop(&stream)}, popped++);
  for (const auto& each : threads) CHECK_EQUAL(each.size(), 1u);
}

TEST(IdleLanesSleep) {
  Plan plan = Pipeline();
  for (PlanLane& lane : plan.lanes) lane.spin_us = 500;
  Executor executor(Shared(plan), FakeFactories(plan));
  Run(&executor, 1);
  // All threads but this one.
  CHECK(Becomes([] {
    const std::string states = ThreadStates();
    return std::count(states.begin(), states.end(), 'S') + 1 ==
           static_cast<std::ptrdiff_t>(states.size());
  }));
  CHECK_EQUAL(RunExecutor(&executor, plan, {{7}}).size(), 1u);
}

TEST(ATraceTellsWhatRanWhereAndWhen) {
  Executor executor(Shared(Branches()), Factories([](const std::string&, uint8_t value) {
                      std::this_thread::sleep_for(std::chrono::microseconds(50));
                      return value;
                    }));
  Run(&executor, 1);
  CHECK(executor.TakeTrace().empty());
  executor.StartTrace();
  Run(&executor, 1);
  Run(&executor, 1);
  const std::vector<TraceEvent> events = executor.TakeTrace();
  CHECK_EQUAL(events.size(), 6u);
  for (const uint64_t item : {1u, 2u}) {
    std::vector<TraceEvent> of(3);
    for (const TraceEvent& event : events) {
      if (event.item == item) of[event.region] = event;
    }
    CHECK_EQUAL(of[0].lane, 0u);
    CHECK_EQUAL(of[1].lane, 1u);
    CHECK_EQUAL(of[2].lane, 0u);
    for (const TraceEvent& event : of) CHECK(event.start_us >= 0 && event.end_us > event.start_us);
    CHECK(of[2].start_us >= std::max(of[0].end_us, of[1].end_us));
  }
  Run(&executor, 1);
  CHECK(executor.TakeTrace().empty());
}

TEST(TimesOfLanes) {
  const Plan plan = Branches();
  Executor executor(Shared(plan), Factories([](const std::string& region, uint8_t value) {
                      std::this_thread::sleep_for(std::chrono::microseconds(100));
                      return static_cast<uint8_t>(region == "join" ? value : value + 1);
                    }));
  const uint8_t x = 5;
  for (const double time_us : executor.TimeRuns(4, {&x})) CHECK(time_us > 200);
  const std::vector<double> profile = executor.Profile(4, {&x});
  CHECK_EQUAL(profile.size(), 12u);
  for (const double time_us : profile) CHECK(time_us > 100);
  CHECK(executor.ReadTensor(3) == Bytes{12});
  const std::vector<double> stream = executor.TimeStream(10, {&x});
  CHECK_EQUAL(stream.size(), 10u);
  CHECK(std::is_sorted(stream.begin(), stream.end()) && stream[0] > 200);
}

std::vector<uint32_t> AllowedCpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  CHECK_EQUAL(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  std::vector<uint32_t> cpus;
  for (uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  return cpus;
}

TEST(LanesStayOnTheirCpus) {
  const std::vector<uint32_t> all = AllowedCpus();
  const std::vector<uint32_t> last = {all.back()};
  Plan plan = Pipeline();
  plan.lanes[1].cpus = last;
  std::vector<std::vector<uint32_t>> made_on;
  std::mutex mutex;
  std::vector<std::vector<uint32_t>> ran_on(2);
  Executor executor(Shared(plan), {{"fake", [&](const Plan&, const PlanRegion& region) {
                                      made_on.push_back(AllowedCpus());
                                      const size_t position = region.name == "r0" ? 0 : 1;
                                      return RegionOf([&, position](const TensorViews&) {
                                        const std::lock_guard<std::mutex> lock(mutex);
                                        ran_on[position] = AllowedCpus();
                                      });
                                    }}});
  Run(&executor, 0);
  CHECK(made_on == std::vector({all, last}));
  CHECK(ran_on == std::vector({all, last}));
  CHECK(AllowedCpus() == all);
}

TEST(ACpuThatIsNotThereIsAnError) {
  Plan plan = Pipeline();
  plan.lanes[1].cpus = {CPU_SETSIZE - 1};
  CHECK_THROWS("lane second: a thread cannot be pinned to CPU 1023: Invalid argument",
               Executor(Shared(plan), FakeFactories(plan)));
}

}  // namespace
}  // namespace tdse
