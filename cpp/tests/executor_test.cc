// The executor: regions run in order, on the right memory, and errors name their region.
#include "executor.h"

#include <unistd.h>

#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fake_region.h"
#include "plans.h"
#include "runs.h"
#include "testing.h"

namespace tdse {
namespace {

std::vector<TensorId> Surviving(Executor* executor, const Plan& plan) {
  std::vector<TensorId> surviving;
  for (TensorId id = 0; id < plan.tensors.size(); ++id) {
    try {
      executor->ReadTensor(id);
      surviving.push_back(id);
    } catch (const std::runtime_error&) {
    }
  }
  return surviving;
}

TEST(RunsLikeAPlanWithoutSharedMemory) {
  std::mt19937 random(6);
  for (int i = 0; i < 200; ++i) {
    const Plan plan = RandomPlan(&random);
    Executor executor(Shared(plan), FakeFactories(plan));
    // Twice: what the first run left in memory must not matter.
    for (uint32_t seed = 0; seed < 2; ++seed) {
      const Values inputs = RandomInputs(plan, seed);
      CHECK(RunExecutor(&executor, plan, inputs) == ExpectedOutputs(plan, inputs));
    }
  }
}

TEST(TensorsThatSurviveHaveTheirValues) {
  std::mt19937 random(7);
  size_t read = 0;
  for (int i = 0; i < 100; ++i) {
    const Plan plan = RandomPlan(&random);
    Executor executor(Shared(plan), FakeFactories(plan));
    const Values inputs = RandomInputs(plan, 0);
    RunExecutor(&executor, plan, inputs);
    const Values expected = ExpectedValues(plan, inputs);
    for (const TensorId id : Surviving(&executor, plan)) {
      CHECK(executor.ReadTensor(id) == expected[id]);
      ++read;
    }
  }
  CHECK(read > 500);
}

TEST(ReadsNoTensorWhoseMemoryWasReused) {
  const Plan plan = Chain(5, 4);
  Executor executor(Shared(plan), FakeFactories(plan));
  CHECK(Surviving(&executor, plan) == std::vector<TensorId>({0, 3, 4, 5}));
  CHECK_THROWS("tensor 't1' cannot be read: its memory is reused", executor.ReadTensor(1));
  CHECK_THROWS("the plan has no tensor 6", executor.ReadTensor(6));
}

TEST(ViewsHaveTypeShapeAndStrides) {
  const Plan plan = ExamplePlan();
  const FrameLayout layout(plan);
  const Frame frame(plan, layout);
  const DLTensor& weights = frame.tensors()[2];
  CHECK_EQUAL(weights.ndim, 2);
  CHECK(weights.shape[0] == 2 && weights.shape[1] == 3);
  CHECK(weights.strides[0] == 3 && weights.strides[1] == 1);
  CHECK_EQUAL(TypeName(weights.dtype), "float32");
  CHECK(weights.data == plan.blobs[1].data);
}

TEST(TimesEveryRunAndEveryRegion) {
  const Plan plan = Chain(3, 100);
  Executor executor(Shared(plan), FakeFactories(plan));
  const Values inputs = RandomInputs(plan, 0);
  CHECK_EQUAL(executor.TimeRuns(7, {inputs[0].data()}).size(), 7u);
  CHECK_EQUAL(executor.Profile(7, {inputs[0].data()}).size(), 21u);
  for (const double time_us : executor.Profile(7, {inputs[0].data()})) CHECK(time_us >= 0);
  CHECK(executor.TimeRuns(0, {inputs[0].data()}).empty());
  const Values expected = ExpectedValues(plan, inputs);
  CHECK(executor.ReadTensor(3) == expected[3]);
}

TEST(RefusesAWrongNumberOfAddresses) {
  const Plan plan = Chain(1, 1);
  Executor executor(Shared(plan), FakeFactories(plan));
  uint8_t byte = 0;
  CHECK_THROWS("the plan has 1 inputs, not 0", executor.Run({}, {&byte}));
  CHECK_THROWS("the plan has 1 outputs, not 2", executor.Run({&byte}, {&byte, &byte}));
  CHECK_THROWS("the plan has 1 inputs, not 2", executor.TimeRuns(1, {&byte, &byte}));
  CHECK_THROWS("the plan has 1 inputs, not 0", executor.Profile(1, {}));
}

TEST(ErrorsNameTheRegion) {
  const Plan plan = Chain(2, 1);
  CHECK_THROWS("region r0: this library cannot run regions of kind 'fake'",
               Executor(Shared(plan), {}));
  const RegionFactory refuse = [](const Plan&, const PlanRegion& region) {
    if (region.name == "r1") throw std::logic_error("it cannot be made");
    return RegionOf([](const TensorViews&) { throw std::logic_error("it does not want to"); });
  };
  CHECK_THROWS("region r1: it cannot be made", Executor(Shared(plan), {{"fake", refuse}}));
  const Plan one = Chain(1, 1);
  Executor executor(Shared(one), {{"fake", refuse}});
  uint8_t byte = 0;
  CHECK_THROWS("region r0: it does not want to", executor.Run({&byte}, {&byte}));
}

TEST(TensorsWithoutElementsAreHarmless) {
  const Plan plan = Chain(3, 0);
  Executor executor(Shared(plan), FakeFactories(plan));
  executor.Run({nullptr}, {nullptr});
}

TEST(BuffersThatDoNotFitIntoMemoryAreRefused) {
  Plan plan = Chain(2, 1);
  // Each passes the parser, which allows a TiB; the sum of 2^20 of them does not exist.
  for (PlanTensor& tensor : plan.tensors) tensor.size_bytes = size_t{1} << 60;
  CHECK_THROWS("not enough memory for a buffer of", Executor(Shared(plan), FakeFactories(plan)));
}

size_t ResidentBytes() {
  size_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

TEST(WhatAFirstRunFreesIsTheSystems) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
  testing::Skip("the allocator is not glibc's");
#endif
  // Blocks that come from the heap, and one above them that stays.
  constexpr size_t kBlocks = 1000, kBlockBytes = 64 << 10;
  std::unique_ptr<char[]> last;
  const Plan plan = Chain(1, 1);
  Executor executor(Shared(plan), {{"fake", [&](const Plan&, const PlanRegion&) {
                                      return RegionOf([&](const TensorViews&) {
                                        std::vector<std::unique_ptr<char[]>> blocks(kBlocks);
                                        for (auto& block : blocks) {
                                          block = std::make_unique<char[]>(kBlockBytes);
                                        }
                                        last = std::make_unique<char[]>(kBlockBytes);
                                      });
                                    }}});
  const size_t before = ResidentBytes();
  const uint8_t x = 0;
  uint8_t y = 0;
  executor.Run({&x}, {&y});
  CHECK(last != nullptr);
  CHECK(ResidentBytes() < before + kBlocks * kBlockBytes / 4);
}

}  // namespace
}  // namespace tdse
