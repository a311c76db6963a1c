// Where tensors are put: nothing that is still needed is overwritten, and memory is used again.
#include "buffers.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "fake_region.h"
#include "plans.h"
#include "testing.h"

namespace tdse {
namespace {

// A call of a kernel: the region it belongs to, and all tensors that it touches.
struct TestedCall {
  uint32_t region;
  std::vector<TensorId> tensors;
};

std::vector<TestedCall> Calls(const Plan& plan) {
  std::vector<TestedCall> calls;
  for (uint32_t r = 0; r < plan.regions.size(); ++r) {
    for (const FakeCall& call : FakeCalls(plan, plan.regions[r])) {
      calls.push_back({r, call.reads});
      calls.back().tensors.insert(calls.back().tensors.end(), call.writes.begin(),
                                  call.writes.end());
    }
  }
  return calls;
}

bool Contains(const std::vector<TensorId>& ids, TensorId id) {
  return std::count(ids.begin(), ids.end(), id) > 0;
}

// For each two tensors, whether all calls that touch the first end before any that touches the
// second.
std::vector<std::vector<bool>> TensorsBefore(const Plan& plan) {
  const std::vector<TestedCall> calls = Calls(plan);
  const std::vector<std::vector<bool>> regions_before = RegionsBefore(plan);
  const size_t count = plan.tensors.size();
  std::vector<std::vector<bool>> before(count, std::vector<bool>(count, true));
  for (size_t i = 0; i < calls.size(); ++i) {
    for (size_t k = 0; k < calls.size(); ++k) {
      const bool is_before = calls[i].region == calls[k].region
                                 ? i < k
                                 : regions_before[calls[i].region][calls[k].region];
      if (is_before) continue;
      for (const TensorId a : calls[i].tensors) {
        for (const TensorId b : calls[k].tensors) before[a][b] = false;
      }
    }
  }
  return before;
}

TEST(TensorsThatLiveTogetherDoNotOverlap) {
  std::mt19937 random(3);
  for (const size_t max_lanes : {1, 4}) {
    size_t pairs_together = 0;
    size_t pairs_sharing_memory = 0;
    for (int i = 0; i < 300; ++i) {
      const Plan plan = RandomPlan(&random, max_lanes);
      const BufferPlan buffers = PlanBuffers(plan);
      const std::vector<std::vector<bool>> before = TensorsBefore(plan);
      for (TensorId a = 0; a < plan.tensors.size(); ++a) {
        if (buffers.offset[a] == BufferPlan::kNotInArena) continue;
        const size_t a_end = buffers.offset[a] + plan.tensors[a].size_bytes + kBufferPadding;
        CHECK_EQUAL(buffers.offset[a] % kBufferAlignment, 0u);
        CHECK(a_end <= buffers.arena_bytes);
        for (TensorId b = 0; b < a; ++b) {
          if (buffers.offset[b] == BufferPlan::kNotInArena) continue;
          const size_t b_end = buffers.offset[b] + plan.tensors[b].size_bytes + kBufferPadding;
          const bool share = buffers.offset[a] < b_end && buffers.offset[b] < a_end;
          const bool together = !before[a][b] && !before[b][a];
          CHECK(!(together && share));
          if (share && before[a][b]) CHECK(!buffers.survives[a]);
          pairs_together += together ? 1 : 0;
          pairs_sharing_memory += share ? 1 : 0;
        }
      }
    }
    CHECK(pairs_together > 1000 && pairs_sharing_memory > 1000);
  }
}

TEST(OnlyWhatRunsInTurnSharesMemory) {
  // Two chains of five regions between one input and one output: side by side, or one lane.
  Plan plan;
  const auto add = [&plan] {
    plan.tensors.push_back(Vector("t", 100));
    return static_cast<TensorId>(plan.tensors.size() - 1);
  };
  plan.inputs = {add()};
  plan.lanes.resize(2);
  std::vector<TensorId> ends;
  for (const LaneId lane : {0u, 1u}) {
    TensorId last = 0;
    for (int r = 0; r < 5; ++r) {
      const TensorId next = add();
      plan.regions.push_back({"r", "fake", 1, -1, {last}, {next}, {}, {lane}});
      last = next;
    }
    ends.push_back(last);
  }
  plan.outputs = {add()};
  plan.regions.push_back({"join", "fake", 1, -1, ends, plan.outputs, {}, {0}});
  // 100 bytes and the padding take three times the alignment.
  CHECK_EQUAL(PlanBuffers(plan).arena_bytes, 4 * 192u);
  for (PlanRegion& region : plan.regions) region.lanes = {0};
  CHECK_EQUAL(PlanBuffers(plan).arena_bytes, 3 * 192u);
}

TEST(OnlyIntermediatesAreInTheArena) {
  std::mt19937 random(4);
  for (int i = 0; i < 300; ++i) {
    const Plan plan = RandomPlan(&random);
    const BufferPlan buffers = PlanBuffers(plan);
    const std::vector<TestedCall> calls = Calls(plan);
    for (TensorId id = 0; id < plan.tensors.size(); ++id) {
      const bool is_border = Contains(plan.inputs, id) || Contains(plan.outputs, id);
      const bool is_used = std::any_of(calls.begin(), calls.end(), [id](const TestedCall& call) {
        return Contains(call.tensors, id);
      });
      const bool in_arena = buffers.offset[id] != BufferPlan::kNotInArena;
      CHECK_EQUAL(in_arena, is_used && !is_border && !plan.tensors[id].is_constant());
      if (!in_arena && is_used) CHECK(buffers.survives[id]);
    }
  }
}

TEST(AChainUsesTwoBuffers) {
  // 100 bytes and the padding take three times the alignment.
  CHECK_EQUAL(PlanBuffers(Chain(2, 100)).arena_bytes, 192u);
  CHECK_EQUAL(PlanBuffers(Chain(3, 100)).arena_bytes, 2 * 192u);
  const BufferPlan buffers = PlanBuffers(Chain(50, 100));
  CHECK_EQUAL(buffers.arena_bytes, 2 * 192u);
  CHECK_EQUAL(buffers.offset[0], BufferPlan::kNotInArena);
  CHECK_EQUAL(buffers.offset[50], BufferPlan::kNotInArena);
  // The last two before the output are still there at the end, all others were overwritten.
  for (TensorId id = 1; id < 50; ++id) CHECK_EQUAL(buffers.survives[id], id >= 48);
}

TEST(WhatLiesBetweenStepsOnADeviceIsNotInTheArena) {
  Plan plan = ExamplePlan();
  const TensorId scratch = 3;
  CHECK(PlanBuffers(plan).offset[scratch] != BufferPlan::kNotInArena);
  CHECK_EQUAL(PlanBuffers(plan).arena_bytes, 128u);
  plan.regions[1].kind = "opencl";
  CHECK_EQUAL(PlanBuffers(plan).offset[scratch], BufferPlan::kNotInArena);
  CHECK_EQUAL(PlanBuffers(plan).arena_bytes, 0u);
  CHECK(!PlanBuffers(plan).survives[scratch]);
}

TEST(EqualPlansHaveEqualArenas) {
  std::mt19937 random(5);
  for (int i = 0; i < 50; ++i) {
    const Plan plan = RandomPlan(&random);
    CHECK(PlanBuffers(plan).offset == PlanBuffers(Plan(plan)).offset);
  }
}

TEST(BuffersAreAlignedZeroedAndPadded) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}}) {
    const AlignedBuffer buffer(size);
    CHECK_EQUAL(buffer.size(), size);
    CHECK_EQUAL(reinterpret_cast<uintptr_t>(buffer.data()) % kBufferAlignment, 0u);
    for (size_t i = 0; i < size + kBufferPadding; ++i) CHECK_EQUAL(int{buffer.data()[i]}, 0);
  }
}

TEST(BuffersCopyAndMove) {
  const char text[] = "some bytes";
  AlignedBuffer buffer(text, sizeof(text));
  const AlignedBuffer moved = std::move(buffer);
  CHECK_EQUAL(std::memcmp(moved.data(), text, sizeof(text)), 0);
  CHECK_EQUAL(AlignedBuffer(nullptr, 0).size(), 0u);
}

TEST(BuffersThatAreTooLargeAreRefused) {
  CHECK_THROWS("not enough memory for a buffer of", AlignedBuffer(SIZE_MAX));
  CHECK_THROWS("not enough memory for a buffer of", AlignedBuffer(SIZE_MAX - 127));
  CHECK_THROWS("not enough memory for a buffer of", AlignedBuffer(SIZE_MAX / 2));
}

}  // namespace
}  // namespace tdse
