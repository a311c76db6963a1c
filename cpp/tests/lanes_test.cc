// Regions of several lanes: side by side, in order, on their CPUs; and what goes wrong in them.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "executor.h"
#include "fake_region.h"
#include "plans.h"
#include "runs.h"
#include "testing.h"

namespace tdse {
namespace {

// Far more than anything here takes, also under a sanitizer on a busy machine.
constexpr std::chrono::seconds kLimit{30};

// Whether `condition` became true. Sleeps in between, so that others can run.
bool Becomes(const std::function<bool()>& condition) {
  const Clock::time_point end = Clock::now() + kLimit;
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

// Passes two threads once both are there.
class Meeting {
 public:
  // Whether the other one came.
  bool Meet() {
    const int round = arrivals_++ / 2;
    return Becomes([&] { return arrivals_ >= 2 * (round + 1); });
  }

 private:
  std::atomic<int> arrivals_{0};
};

std::vector<PlanLane> LanesNamed(const std::vector<std::string>& names) {
  std::vector<PlanLane> lanes;
  for (const std::string& name : names) lanes.push_back({name, {}, 0, 0});
  return lanes;
}

// What regions do, by name, with the one byte that they read; what they return is written.
using Work = std::function<uint8_t(const std::string& region, uint8_t value)>;

RegionFactories Factories(const Work& work) {
  return {{"fake", [work](const Plan&, const PlanRegion& region) {
             return RegionOf([&region, work](const TensorViews& tensors) {
               const auto at = [&](TensorId id) { return static_cast<uint8_t*>(tensors[id].data); };
               uint8_t value = 0;
               for (TensorId id : region.inputs) value = static_cast<uint8_t>(value + *at(id));
               value = work(region.name, value);
               for (TensorId id : region.outputs) *at(id) = value;
             });
           }}};
}

uint8_t Run(Executor* executor, uint8_t value) {
  uint8_t result = 0;
  executor->Run({&value}, {&result});
  return result;
}

bool Push(Stream* stream, uint8_t value) { return stream->TryPush({&value}); }

uint8_t Pop(Stream* stream) {
  uint8_t result = 0;
  stream->Pop({&result});
  return result;
}

// x into a and b, each on a lane of its own; both into y.
Plan Branches() {
  Plan plan;
  plan.tensors = {Vector("x", 1), Vector("p", 1), Vector("q", 1), Vector("y", 1)};
  plan.inputs = {0};
  plan.outputs = {3};
  plan.lanes = LanesNamed({"first", "second"});
  plan.regions = {{"a", "fake", 1, -1, {0}, {1}, {}, {0}},
                  {"b", "fake", 1, -1, {0}, {2}, {}, {1}},
                  {"join", "fake", 1, -1, {1, 2}, {3}, {}, {0}}};
  return plan;
}

// Two regions in a row, each on a lane of its own.
Plan Pipeline() {
  Plan plan = Chain(2, 1);
  plan.lanes = LanesNamed({"first", "second"});
  plan.regions[1].lanes = {1};
  return plan;
}

// One region, of which each lane has a copy.
Plan Copies() {
  Plan plan = Chain(1, 1);
  plan.lanes = LanesNamed({"first", "second"});
  plan.regions[0].lanes = {0, 1};
  return plan;
}

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

TEST(ResultsComeInTheOrderOfTheInputs) {
  // The first of two items ends after the second.
  std::atomic<bool> second_ended{false};
  Executor executor(Shared(Copies()), Factories([&](const std::string&, uint8_t value) {
                      if (value == 1) Becomes([&] { return second_ended.load(); });
                      if (value == 2) second_ended = true;
                      return value;
                    }));
  Stream stream(&executor);
  CHECK(Push(&stream, 1));
  CHECK(Push(&stream, 2));
  CHECK_EQUAL(int{Pop(&stream)}, 1);
  CHECK(Becomes([&] { return stream.IsOldestDone(); }));
  CHECK_EQUAL(int{Pop(&stream)}, 2);
  CHECK(!stream.IsOldestDone());
  CHECK_THROWS("nothing is in the stream", Pop(&stream));
}

TEST(AStreamTakesNoMoreThanItsItems) {
  std::atomic<bool> go_on{false};
  std::atomic<int> started{0};
  Executor executor(Shared(Pipeline()), Factories([&](const std::string& region, uint8_t value) {
                      if (region == "r0") ++started;
                      Becomes([&] { return go_on.load(); });
                      return value;
                    }));
  Stream stream(&executor);
  const size_t items = Pipeline().MaxItems();
  CHECK_EQUAL(items, 4u);
  for (uint8_t value = 0; value < items; ++value) CHECK(Push(&stream, value));
  CHECK(!Push(&stream, 9));
  CHECK(!stream.IsOldestDone());
  go_on = true;
  CHECK_EQUAL(int{Pop(&stream)}, 0);
  CHECK(Push(&stream, 4));
  CHECK(!Push(&stream, 9));
  for (uint8_t value = 1; value <= 4; ++value) CHECK_EQUAL(int{Pop(&stream)}, value);
  CHECK_EQUAL(started.load(), 5);
}

TEST(OneLaneStreamsOnTheCallersThread) {
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> elsewhere{0};
  Executor executor(Shared(Chain(2, 1)), Factories([&](const std::string&, uint8_t value) {
                      if (std::this_thread::get_id() != caller) ++elsewhere;
                      if (value == 7) throw std::runtime_error("not seven");
                      return static_cast<uint8_t>(value + 1);
                    }));
  Stream stream(&executor);
  CHECK(Push(&stream, 1));
  CHECK(stream.IsOldestDone());
  CHECK(!Push(&stream, 9));
  // A call does not disturb the stream.
  CHECK_EQUAL(int{Run(&executor, 20)}, 22);
  CHECK_EQUAL(int{Pop(&stream)}, 3);
  CHECK(Push(&stream, 7));
  CHECK_THROWS("region r0: not seven", Pop(&stream));
  CHECK_EQUAL(elsewhere.load(), 0);
}

// Regions that take their time, so that others overtake them where nothing forbids it.
RegionFactories SlowFakeFactories(const Plan& plan) {
  RegionFactories factories = FakeFactories(plan);
  for (auto& [kind, factory] : factories) {
    factory = [fake = factory](const Plan& whole, const PlanRegion& part) {
      std::shared_ptr<Region> region = fake(whole, part);
      auto calls = std::make_shared<std::atomic<uint32_t>>(0);
      return RegionOf([region, calls, &part](const TensorViews& tensors) {
        const uint32_t call = ++*calls + static_cast<uint32_t>(part.outputs[0]);
        std::this_thread::sleep_for(std::chrono::microseconds(call % 4 * 30));
        region->Bind(tensors)->Run();
        std::this_thread::sleep_for(std::chrono::microseconds(call % 3 * 30));
      });
    };
  }
  return factories;
}

// Streams `count` items, each with inputs of its own; whether all results are right.
bool StreamIsRight(Executor* executor, const Plan& plan, uint32_t first_seed, uint32_t count) {
  Stream stream(executor);
  const auto pop_is_right = [&](uint32_t seed) {
    Values outputs;
    std::vector<void*> addresses;
    for (const TensorId id : plan.outputs) outputs.emplace_back(plan.tensors[id].size_bytes);
    for (Bytes& output : outputs) addresses.push_back(output.data());
    stream.Pop(addresses);
    return outputs == ExpectedOutputs(plan, RandomInputs(plan, seed));
  };
  uint32_t popped = first_seed;
  for (uint32_t seed = first_seed; seed < first_seed + count; ++seed) {
    const Values inputs = RandomInputs(plan, seed);
    std::vector<const void*> addresses;
    for (const Bytes& input : inputs) addresses.push_back(input.data());
    while (!stream.TryPush(addresses)) {
      if (!pop_is_right(popped++)) return false;
    }
  }
  while (popped < first_seed + count) {
    if (!pop_is_right(popped++)) return false;
  }
  return true;
}

TEST(LanesGiveTheResultsOfOneAfterTheOther) {
  std::mt19937 random(11);
  for (int i = 0; i < 60; ++i) {
    const Plan plan = RandomPlan(&random, 4);
    Executor executor(Shared(plan), SlowFakeFactories(plan));
    for (uint32_t seed = 0; seed < 3; ++seed) {
      const Values inputs = RandomInputs(plan, seed);
      CHECK(RunExecutor(&executor, plan, inputs) == ExpectedOutputs(plan, inputs));
    }
    CHECK(StreamIsRight(&executor, plan, 10, 12));
  }
}

TEST(CallsAndStreamsOfSeveralThreads) {
  std::mt19937 random(12);
  for (int i = 0; i < 15; ++i) {
    Plan plan = RandomPlan(&random, 3);
    for (PlanLane& lane : plan.lanes) lane.spin_us = i % 2 == 0 ? 20 : 0;
    Executor executor(Shared(plan), FakeFactories(plan));
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        const Values inputs = RandomInputs(plan, t);
        const Values expected = ExpectedOutputs(plan, inputs);
        for (int k = 0; k < 20 && t % 2 == 0; ++k) {
          if (RunExecutor(&executor, plan, inputs) != expected) ++wrong;
        }
        if (t % 2 == 1 && !StreamIsRight(&executor, plan, 100 * t, 30)) ++wrong;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK_EQUAL(wrong.load(), 0);
  }
}

TEST(AnErrorIsThatOfItsItem) {
  std::atomic<int> later{0};
  Executor executor(Shared(Pipeline()), Factories([&](const std::string& region, uint8_t value) {
                      if (region == "r0" && value % 3 == 1) throw std::logic_error("odd one out");
                      if (region == "r0" && value % 3 == 2) throw std::bad_alloc();
                      if (region == "r1") ++later;
                      return value;
                    }));
  CHECK_THROWS("region r0: odd one out", Run(&executor, 1));
  CHECK_EQUAL(int{Run(&executor, 0)}, 0);
  Stream stream(&executor);
  for (uint8_t value = 0; value < 3; ++value) CHECK(Push(&stream, value));
  for (uint8_t value = 0; value < 20; ++value) {
    if (value % 3 == 0) CHECK_EQUAL(int{Pop(&stream)}, value);
    if (value % 3 == 1) CHECK_THROWS("region r0: odd one out", Pop(&stream));
    if (value % 3 == 2) CHECK_THROWS("region r0: there is not enough memory", Pop(&stream));
    CHECK(Push(&stream, static_cast<uint8_t>(value + 3)));
  }
  stream.Cancel();
  // What was to read the result of a region that failed is skipped.
  CHECK(later < 1 + 23 / 3 + 1 + 1);
}

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

// The letters for the states of this process's threads: R where one runs, S where one sleeps.
std::string ThreadStates() {
  std::string states;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(thread.path() / "stat");
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    // After the name, which is in brackets.
    if (!text.empty()) states += text.at(text.rfind(')') + 2);
  }
  return states;
}

size_t Threads() { return ThreadStates().size(); }

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

TEST(AThousandCancelledStreams) {
  std::mt19937 random(13);
  const size_t threads_before = Threads();
  for (int i = 0; i < 20; ++i) {
    const Plan plan = RandomPlan(&random, 3);
    const Values inputs = RandomInputs(plan, 0);
    const Values expected = ExpectedOutputs(plan, inputs);
    std::vector<const void*> addresses;
    for (const Bytes& input : inputs) addresses.push_back(input.data());
    Values outputs;
    std::vector<void*> results;
    for (const TensorId id : plan.outputs) outputs.emplace_back(plan.tensors[id].size_bytes);
    for (Bytes& output : outputs) results.push_back(output.data());
    std::shared_ptr<const Plan> shared = Shared(plan);
    const std::weak_ptr<const Plan> watched = shared;
    {
      Executor executor(std::move(shared), FakeFactories(plan));
      for (int k = 0; k < 50; ++k) {
        Stream stream(&executor);
        size_t in_flight = 0;
        for (size_t steps = random() % 12; steps > 0; --steps) {
          if (random() % 3 > 0) {
            in_flight += stream.TryPush(addresses) ? 1 : 0;
          } else if (in_flight > 0) {
            stream.Pop(results);
            CHECK(outputs == expected);
            --in_flight;
          }
        }
        if (random() % 4 == 0) std::this_thread::yield();
        if (random() % 2 == 0) stream.Cancel();
      }
      CHECK(RunExecutor(&executor, plan, inputs) == expected);
    }
    CHECK(watched.expired());
  }
  CHECK(Becomes([&] { return Threads() == threads_before; }));
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
