// Regions of devices that are not there: results, modelled times, and what is refused.
#include "emulated_region.h"

#include <sys/resource.h>

#include <cstring>
#include <string>
#include <vector>

#include "fake_region.h"
#include "plans.h"
#include "runs.h"
#include "testing.h"

namespace tdse {
namespace {

constexpr double kModelledUs = 5000;

// Owns the blobs of a plan whose regions are emulated.
struct EmulatedPlan {
  Plan plan;
  std::vector<Bytes> blobs;

  // Region `r` takes `us` and comes by its outputs in this way.
  void Set(size_t r, double us, uint32_t result, const Bytes& content = {}) {
    Bytes blob(kEmulatedHeaderBytes);
    const auto ns = static_cast<uint64_t>(us * 1e3);
    std::memcpy(blob.data(), &ns, sizeof(ns));
    std::memcpy(blob.data() + sizeof(ns), &result, sizeof(result));
    blob.insert(blob.end(), content.begin(), content.end());
    blobs[r] = blob;
    plan.blobs[r] = {blobs[r].data(), blobs[r].size()};
  }
};

EmulatedPlan Carrying(size_t count, int64_t elements, double us) {
  EmulatedPlan made{Chain(count, elements), std::vector<Bytes>(count)};
  made.plan.blobs.resize(count);
  for (size_t r = 0; r < count; ++r) {
    made.plan.regions[r].kind = "emulated";
    made.plan.regions[r].blob = static_cast<int32_t>(r);
    made.Set(r, us, static_cast<uint32_t>(EmulatedResult::kCarried));
  }
  return made;
}

RegionFactories Emulated(const RegionFactories& host = {}) {
  return {{"emulated", [host](const Plan& plan, const PlanRegion& region) {
             return MakeEmulatedRegion(plan, region, host);
           }}};
}

double CpuUs() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& time) { return time.tv_sec * 1e6 + time.tv_usec; };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

TEST(EmulatedTransfersCarryAndTakeTheirTime) {
  const EmulatedPlan made = Carrying(3, 100, kModelledUs);
  Executor executor(Shared(made.plan), Emulated());
  const Values inputs = RandomInputs(made.plan, 0);
  CHECK(RunExecutor(&executor, made.plan, inputs) == inputs);
  const double cpu_us = CpuUs();
  // A region that begins late, because the thread was awake late, ends in time all the same.
  for (const double us : executor.TimeRuns(4, {inputs[0].data()})) CHECK(us >= 3 * kModelledUs);
  // 60 ms went by.
  CHECK(CpuUs() - cpu_us < 2 * kModelledUs);
}

TEST(EmulatedRegionsOfLanesOverlap) {
  // So long that neither thread is late by it, on however busy a machine.
  EmulatedPlan made = Carrying(2, 8, 20 * kModelledUs);
  made.plan.regions[1].inputs = {0};
  made.plan.outputs = {1, 2};
  made.plan.lanes = {{"a", {}, 0, 0}, {"b", {}, 0, 0}};
  made.plan.regions[1].lanes = {1};
  Executor executor(Shared(made.plan), Emulated());
  executor.StartTrace();
  const Values inputs = RandomInputs(made.plan, 0);
  CHECK(RunExecutor(&executor, made.plan, inputs) == (Values{inputs[0], inputs[0]}));
  const std::vector<TraceEvent> events = executor.TakeTrace();
  CHECK_EQUAL(events.size(), size_t{2});
  CHECK(events[0].start_us < events[1].end_us);
  CHECK(events[1].start_us < events[0].end_us);
}

TEST(EmulatedRegionsReplayWhatWasRecorded) {
  EmulatedPlan made = Carrying(2, 4, 10);
  const auto recorded = static_cast<uint32_t>(EmulatedResult::kRecorded);
  made.Set(0, 10, recorded, {0});
  made.Set(1, 10, recorded, {1, 9, 8, 7, 6});
  Executor executor(Shared(made.plan), Emulated());
  for (uint32_t seed = 0; seed < 3; ++seed) {
    const Values inputs = RandomInputs(made.plan, seed);
    CHECK(RunExecutor(&executor, made.plan, inputs) == (Values{{9, 8, 7, 6}}));
  }
}

TEST(EmulatedRegionsComputeHere) {
  EmulatedPlan made = Carrying(2, 50, kModelledUs);
  const Bytes slice = {1, 2, 3};
  for (size_t r = 0; r < 2; ++r) {
    made.Set(r, kModelledUs, static_cast<uint32_t>(EmulatedResult::kLiteRt), slice);
  }
  Plan fake = made.plan;
  for (PlanRegion& region : fake.regions) region.kind = "fake";
  const RegionFactory make_fake = FakeFactories(fake).at("fake");
  // Gets the region as if it were not emulated.
  const auto host = [&](const Plan& plan, const PlanRegion& region) {
    CHECK_EQUAL(region.kind, std::string("litert"));
    const Blob& blob = plan.blobs[region.blob];
    CHECK(Bytes(blob.data, blob.data + blob.size) == slice);
    return make_fake(plan, region);
  };
  Executor executor(Shared(made.plan), Emulated({{"litert", host}}));
  const Values inputs = RandomInputs(made.plan, 1);
  CHECK(RunExecutor(&executor, made.plan, inputs) == ExpectedOutputs(fake, inputs));
  for (const double us : executor.TimeRuns(1, {inputs[0].data()})) CHECK(us >= 2 * kModelledUs);
}

TEST(EmulatedRegionsThatDoNotFitAreRefused) {
  const auto refuse = [](EmulatedPlan* made) { Executor executor(Shared(made->plan), Emulated()); };
  EmulatedPlan made = Carrying(1, 4, 10);
  made.plan.blobs[0].size = kEmulatedHeaderBytes - 1;
  CHECK_THROWS("does not say what it would take", refuse(&made));
  made.plan.regions[0].blob = -1;
  CHECK_THROWS("does not say what it would take", refuse(&made));

  made = Carrying(1, 4, 4e9);
  CHECK_THROWS("more than an hour", refuse(&made));

  made = Carrying(1, 4, 10);
  made.Set(0, 10, 99);
  CHECK_THROWS("how it comes by its outputs", refuse(&made));
  made.Set(0, 10, static_cast<uint32_t>(EmulatedResult::kLiteRt), {1});
  CHECK_THROWS("cannot run regions of kind 'litert'", refuse(&made));
  const auto recorded = static_cast<uint32_t>(EmulatedResult::kRecorded);
  for (const Bytes& content : {Bytes{}, Bytes{1}, Bytes{1, 1, 2, 3}}) {
    made.Set(0, 10, recorded, content);
    CHECK_THROWS("ends too early", refuse(&made));
  }
  made.Set(0, 10, recorded, {1, 1, 2, 3, 4, 5});
  CHECK_THROWS("more was recorded", refuse(&made));

  made = Carrying(1, 4, 10);
  made.plan.tensors[1] = Vector("t1", 5);
  CHECK_THROWS("one input and one output of its size", refuse(&made));
}

}  // namespace
}  // namespace tdse
