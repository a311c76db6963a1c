// Streams over several lanes: in order, bounded, right from several threads, with errors,
// cancelled.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "executor.h"
#include "fake_region.h"
#include "lane_plans.h"
#include "plans.h"
#include "runs.h"
#include "testing.h"

namespace tdse {
namespace {

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
  for (const uint8_t items_per_lane : {1, 2, 3}) {
    std::atomic<bool> go_on{false};
    std::atomic<int> started{0};
    Plan plan = Pipeline();
    plan.items_per_lane = items_per_lane;
    Executor executor(Shared(plan), Factories([&](const std::string& region, uint8_t value) {
                        if (region == "r0") ++started;
                        Becomes([&] { return go_on.load(); });
                        return value;
                      }));
    Stream stream(&executor);
    const auto items = static_cast<uint8_t>(2 * items_per_lane);
    CHECK_EQUAL(plan.MaxItems(), size_t{items});
    for (uint8_t value = 0; value < items; ++value) CHECK(Push(&stream, value));
    CHECK(!Push(&stream, 9));
    CHECK(!stream.IsOldestDone());
    go_on = true;
    CHECK_EQUAL(int{Pop(&stream)}, 0);
    CHECK(Push(&stream, items));
    CHECK(!Push(&stream, 9));
    for (uint8_t value = 1; value <= items; ++value) CHECK_EQUAL(int{Pop(&stream)}, value);
    CHECK_EQUAL(started.load(), items + 1);
  }
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

TEST(AThousandCancelledStreams) {
  std::mt19937 random(13);
  const size_t threads_before = ThreadStates().size();
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
  CHECK(Becomes([&] { return ThreadStates().size() == threads_before; }));
}

}  // namespace
}  // namespace tdse
