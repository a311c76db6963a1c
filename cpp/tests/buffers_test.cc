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

// The calls of a plan in order, each with all tensors that it touches.
std::vector<std::vector<TensorId>> Calls(const Plan& plan) {
  std::vector<std::vector<TensorId>> calls;
  for (const PlanRegion& region : plan.regions) {
    for (FakeCall& call : FakeCalls(plan, region)) {
      calls.push_back(std::move(call.reads));
      calls.back().insert(calls.back().end(), call.writes.begin(), call.writes.end());
    }
  }
  return calls;
}

// For each tensor, the calls between its first use and its last: those during which it must stay.
std::vector<std::vector<bool>> NeededDuring(const Plan& plan) {
  const std::vector<std::vector<TensorId>> calls = Calls(plan);
  std::vector<std::vector<bool>> needed(plan.tensors.size(),
                                        std::vector<bool>(calls.size(), false));
  for (TensorId id = 0; id < plan.tensors.size(); ++id) {
    for (size_t first = 0; first < calls.size(); ++first) {
      for (size_t last = first; last < calls.size(); ++last) {
        const auto uses = [&](size_t call) {
          return std::count(calls[call].begin(), calls[call].end(), id) > 0;
        };
        if (!uses(first) || !uses(last)) continue;
        for (size_t call = first; call <= last; ++call) needed[id][call] = true;
      }
    }
  }
  return needed;
}

TEST(TensorsThatLiveTogetherDoNotOverlap) {
  std::mt19937 random(3);
  size_t pairs_together = 0;
  size_t pairs_sharing_memory = 0;
  for (int i = 0; i < 300; ++i) {
    const Plan plan = RandomPlan(&random);
    const BufferPlan buffers = PlanBuffers(plan);
    const std::vector<std::vector<bool>> needed = NeededDuring(plan);
    for (TensorId a = 0; a < plan.tensors.size(); ++a) {
      if (buffers.offset[a] == BufferPlan::kNotInArena) continue;
      const size_t a_end = buffers.offset[a] + plan.tensors[a].size_bytes + kBufferPadding;
      CHECK_EQUAL(buffers.offset[a] % kBufferAlignment, 0u);
      CHECK(a_end <= buffers.arena_bytes);
      for (TensorId b = 0; b < a; ++b) {
        if (buffers.offset[b] == BufferPlan::kNotInArena) continue;
        const size_t b_end = buffers.offset[b] + plan.tensors[b].size_bytes + kBufferPadding;
        const bool share = buffers.offset[a] < b_end && buffers.offset[b] < a_end;
        bool together = false;
        for (size_t call = 0; call < needed[a].size(); ++call) {
          together = together || (needed[a][call] && needed[b][call]);
        }
        CHECK(!(together && share));
        pairs_together += together ? 1 : 0;
        pairs_sharing_memory += share ? 1 : 0;
      }
    }
  }
  CHECK(pairs_together > 1000 && pairs_sharing_memory > 1000);
}

TEST(OnlyIntermediatesAreInTheArena) {
  std::mt19937 random(4);
  for (int i = 0; i < 300; ++i) {
    const Plan plan = RandomPlan(&random);
    const BufferPlan buffers = PlanBuffers(plan);
    const std::vector<std::vector<bool>> needed = NeededDuring(plan);
    for (TensorId id = 0; id < plan.tensors.size(); ++id) {
      const bool is_border = std::count(plan.inputs.begin(), plan.inputs.end(), id) > 0 ||
                             std::count(plan.outputs.begin(), plan.outputs.end(), id) > 0;
      const bool is_used = std::count(needed[id].begin(), needed[id].end(), true) > 0;
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
