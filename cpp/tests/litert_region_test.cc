// Regions that the real LiteRT runs, compiled by its C API. Skipped where it is not installed.
#include "litert_region.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "child.h"
#include "litert_api.h"
#include "plans.h"
#include "runs.h"
#include "shared_executor.h"
#include "testing.h"

namespace tdse {
namespace {

// A .tflite model of one operator, NEG on float32 of 256 x 256: small as a file, and large enough
// for XNNPACK to share it out among threads. From tests/models.py:
//   unary("NEG", (256, 256), ("float32", "float32"))
constexpr int64_t kSide = 256;
alignas(kBlobAlignment) constexpr uint8_t kNegation[] = {
    8,   0,   0,  0, 84, 70, 76, 51, 198, 255, 255, 255, 20, 0, 0,   0, 32,  0,   0,   0,   36,  0,
    0,   0,   8,  1, 0,  0,  3,  0,  0,   0,   1,   0,   0,  0, 8,   0, 0,   0,   4,   0,   4,   0,
    4,   0,   0,  0, 0,  0,  0,  0,  0,   0,   0,   0,   1,  0, 0,   0, 20,  0,   0,   0,   0,   0,
    14,  0,   24, 0, 20, 0,  16, 0,  12,  0,   8,   0,   4,  0, 14,  0, 0,   0,   20,  0,   0,   0,
    28,  0,   0,  0, 72, 0,  0,  0,  76,  0,   0,   0,   80, 0, 0,   0, 4,   0,   0,   0,   109, 97,
    105, 110, 0,  0, 0,  0,  1,  0,  0,   0,   16,  0,   0,  0, 0,   0, 10,  0,   12,  0,   0,   0,
    8,   0,   4,  0, 10, 0,  0,  0,  8,   0,   0,   0,   12, 0, 0,   0, 1,   0,   0,   0,   1,   0,
    0,   0,   1,  0, 0,  0,  0,  0,  0,   0,   1,   0,   0,  0, 1,   0, 0,   0,   1,   0,   0,   0,
    0,   0,   0,  0, 2,  0,  0,  0,  68,  0,   0,   0,   4,  0, 0,   0, 218, 255, 255, 255, 0,   0,
    0,   1,   8,  0, 0,  0,  12, 0,  0,   0,   1,   0,   0,  0, 121, 0, 0,   0,   2,   0,   0,   0,
    0,   1,   0,  0, 0,  1,  0,  0,  0,   0,   22,  0,   16, 0, 12,  0, 0,   0,   0,   0,   8,   0,
    0,   0,   0,  0, 0,  0,  0,  0,  7,   0,   22,  0,   0,  0, 0,   0, 0,   1,   8,   0,   0,   0,
    12,  0,   0,  0, 1,  0,  0,  0,  120, 0,   0,   0,   2,  0, 0,   0, 0,   1,   0,   0,   0,   1,
    0,   0,   1,  0, 0,  0,  16, 0,  0,   0,   12,  0,   12, 0, 11,  0, 0,   0,   0,   0,   4,   0,
    12,  0,   0,  0, 59, 0,  0,  0,  0,   0,   0,   59,
};

// Negations in a row, each on `threads` threads.
Plan Negations(size_t count, uint32_t threads) {
  Plan plan = Chain(count, 0);
  plan.blobs = {{kNegation, sizeof(kNegation)}};
  for (PlanTensor& tensor : plan.tensors) {
    tensor.dtype = {kDLFloat, 32, 1};
    tensor.shape = {kSide, kSide};
    tensor.size_bytes = sizeof(float) * kSide * kSide;
  }
  for (PlanRegion& region : plan.regions) {
    region.kind = "litert";
    region.blob = 0;
    region.threads = threads;
  }
  return plan;
}

RegionFactories LiteRt() { return {{"litert", MakeLiteRtRegion}}; }

void RequireLiteRt() {
  const std::string library = TDSE_LITERT_LIBRARY;
  if (library.empty()) testing::Skip("ai-edge-litert is not installed");
  litert::SetLibrary(library);
}

// Each element with its sign bit the other way.
Values Negated(const Values& values) {
  Values negated = values;
  for (size_t i = sizeof(float) - 1; i < negated[0].size(); i += sizeof(float)) {
    negated[0][i] ^= 0x80;
  }
  return negated;
}

// Floats in [1, 2): random bits with an exponent of zero.
Values Inputs(const Plan& plan, uint32_t seed) {
  Values values = RandomInputs(plan, seed);
  for (size_t i = 0; i < values[0].size(); i += sizeof(float)) {
    values[0][i + 2] |= 0x80;
    values[0][i + 3] = 0x3F;
  }
  return values;
}

// First, as a library that is loaded stays.
TEST(SaysWhyLiteRtCannotBeLoaded) {
  for (const std::string path : {"/nowhere/libLiteRt.so", "libm.so.6"}) {
    const std::string said = InChild([&] {
      litert::SetLibrary(path);
      try {
        litert::GetApi();
      } catch (const std::runtime_error& error) {
        return std::string(error.what());
      }
      return std::string("nothing");
    });
    const std::string expected = path == "libm.so.6"
                                     ? "libm.so.6 has no function LiteRtCreateEnvironment"
                                     : "LiteRT's library cannot be loaded: /nowhere/libLiteRt.so";
    CHECK_EQUAL(said.substr(0, expected.size()), expected);
  }
}

TEST(LiteRtRunsInPlace) {
  RequireLiteRt();
  for (const uint32_t threads : {1u, 2u}) {
    const Plan plan = Negations(3, threads);
    Executor executor(Shared(plan), LiteRt());
    for (uint32_t seed = 0; seed < 3; ++seed) {
      const Values inputs = Inputs(plan, seed);
      CHECK(RunExecutor(&executor, plan, inputs) == Negated(inputs));
    }
  }
}

TEST(LiteRtIsCalledFromEightThreads) {
  RequireLiteRt();
  const Plan plan = Negations(2, 2);
  SharedExecutor shared(Shared(plan), LiteRt());
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      // One that all threads share, and one of this thread's own, made meanwhile.
      SharedExecutor own(Shared(plan), LiteRt());
      const Values inputs = Inputs(plan, i);
      for (int k = 0; k < 5; ++k) {
        for (SharedExecutor* executor : {&shared, &own}) {
          if (RunExecutor(&executor->Get(), plan, inputs) != inputs) ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQUAL(wrong.load(), 0);
}

TEST(LiteRtRunsOnLanes) {
  RequireLiteRt();
  for (const bool has_copies : {false, true}) {
    Plan plan = Negations(3, 1);
    plan.lanes.resize(2);
    for (LaneId i = 0; i < 3; ++i) {
      plan.regions[i].lanes = has_copies ? std::vector<LaneId>{0, 1} : std::vector<LaneId>{i % 2};
    }
    Executor executor(Shared(plan), LiteRt());
    Stream stream(&executor);
    uint32_t popped = 0;
    const auto pop = [&] {
      Bytes output(plan.tensors[3].size_bytes);
      stream.Pop({output.data()});
      CHECK(Values{output} == Negated(Inputs(plan, popped++)));
    };
    for (uint32_t seed = 0; seed < 20; ++seed) {
      const Values inputs = Inputs(plan, seed);
      while (!stream.TryPush({inputs[0].data()})) pop();
    }
    while (popped < 20) pop();
  }
}

TEST(LiteRtRegionsAreMadeAndDropped) {
  RequireLiteRt();
  const Plan plan = Negations(1, 2);
  const Values inputs = Inputs(plan, 0);
  for (int i = 0; i < 30; ++i) {
    Executor executor(Shared(plan), LiteRt());
    CHECK(RunExecutor(&executor, plan, inputs) == Negated(inputs));
  }
}

TEST(LiteRtIsRefusedAfterForkAndWorksAnew) {
  RequireLiteRt();
  const Plan plan = Negations(1, 2);
  const Values inputs = Inputs(plan, 0);
  SharedExecutor shared(Shared(plan), LiteRt());
  const auto run = [&](SharedExecutor* executor) {
    const bool right = RunExecutor(&executor->Get(), plan, inputs) == Negated(inputs);
    return std::string(right ? "right" : "wrong");
  };
  CHECK_EQUAL(run(&shared), "right");
  const std::string said = InChild([&] {
    try {
      return run(&shared);
    } catch (const std::runtime_error&) {
      // One thread: ThreadSanitizer allows no new ones after a fork.
      const Plan one_thread = Negations(1, 1);
      SharedExecutor own(Shared(one_thread), LiteRt());
      return "refused, then " + run(&own);
    }
  });
  CHECK_EQUAL(said, "refused, then right");
  CHECK_EQUAL(run(&shared), "right");
}

// The plan of one region with one change: what LiteRT, or the region, says.
template <typename Change>
void CheckRefused(const std::string& reason, const Change& change) {
  Plan plan = Negations(1, 1);
  change(&plan);
  CHECK_THROWS("region r0: litert: " + reason, Executor(Shared(plan), LiteRt()));
}

TEST(SaysWhyARegionDoesNotFit) {
  RequireLiteRt();
  CheckRefused("the region has no model", [](Plan* plan) { plan->regions[0].blob = -1; });
  CheckRefused("the slice has 1 inputs, the plan 2",
               [](Plan* plan) { plan->regions[0].inputs = {0, 0}; });
  CheckRefused("the slice has 1 outputs, the plan 0",
               [](Plan* plan) { plan->regions[0].outputs = {}; });
  CheckRefused("cannot take input 't0' as int32: the slice has another element type",
               [](Plan* plan) { plan->tensors[0].dtype = {kDLInt, 32, 1}; });
  CheckRefused("cannot take output 't1': the slice has another shape",
               [](Plan* plan) { plan->tensors[1].shape = {kSide * kSide}; });
  CheckRefused("cannot use the plan's buffer for output 't1'", [](Plan* plan) {
    plan->tensors[1].size_bytes = sizeof(float) * kSide * (kSide - 1);
  });
}

TEST(SaysWhyLiteRtRefusesAModel) {
  RequireLiteRt();
  static constexpr uint8_t kGarbage[1000] = {'n', 'o', ' ', 'm', 'o', 'd', 'e', 'l'};
  CheckRefused("cannot compile the region: ",
               [](Plan* plan) { plan->blobs[0] = {kGarbage, sizeof(kGarbage)}; });
  CheckRefused("cannot compile the region: ", [](Plan* plan) { plan->blobs[0] = {kNegation, 0}; });
  CheckRefused("cannot compile the region: ", [](Plan* plan) { plan->blobs[0].size /= 2; });
}

}  // namespace
}  // namespace tdse
