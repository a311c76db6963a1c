#include "buffers.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace tdse {
namespace {

constexpr size_t RoundUp(size_t size) {
  return (size + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
}

// A tensor's life, in calls of kernels or regions: first written at `begin`, last used at `end`.
struct Life {
  TensorId id = 0;
  size_t begin = SIZE_MAX;
  size_t end = 0;
  size_t bytes = 0;
  size_t offset = 0;

  bool is_used() const { return begin != SIZE_MAX; }
  bool Overlaps(const Life& other) const { return begin <= other.end && other.begin <= end; }
};

std::vector<Life> FindLives(const Plan& plan) {
  std::vector<Life> lives(plan.tensors.size());
  for (TensorId id = 0; id < lives.size(); ++id) {
    lives[id].id = id;
    lives[id].bytes = RoundUp(plan.tensors[id].size_bytes + kBufferPadding);
  }
  const auto use = [&lives](TensorId id, size_t time) {
    lives[id].begin = std::min(lives[id].begin, time);
    lives[id].end = std::max(lives[id].end, time);
  };
  size_t time = 0;
  for (const PlanRegion& region : plan.regions) {
    // Steps on a device keep what lies between them there. Such a region, and one without steps, is
    // one call, which reads and writes in an order of its own.
    const bool is_one_call = region.steps.empty() || region.device().device_type != kDLCPU;
    if (is_one_call) {
      for (TensorId id : region.inputs) use(id, time);
      for (TensorId id : region.outputs) use(id, time);
      ++time;
      continue;
    }
    for (const PlanStep& step : region.steps) {
      for (TensorId id : step.arguments) use(id, time);
      ++time;
    }
  }
  return lives;
}

// The lowest place in the arena where no placed tensor with an overlapping life is.
size_t FindOffset(const Life& life, const std::vector<Life>& placed_by_offset) {
  size_t offset = 0;
  for (const Life& other : placed_by_offset) {
    if (!life.Overlaps(other)) continue;
    if (offset + life.bytes <= other.offset) break;
    offset = std::max(offset, other.offset + other.bytes);
  }
  return offset;
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t size) : size_(size) {
  const size_t bytes = RoundUp(size + kBufferPadding) + kBufferAlignment;
  // calloc leaves large blocks to be zeroed by the system when they are first touched.
  memory_.reset(bytes < size ? nullptr : std::calloc(bytes, 1));
  if (memory_ == nullptr) {
    throw std::runtime_error("not enough memory for a buffer of " + std::to_string(size) +
                             " bytes");
  }
  const auto address = reinterpret_cast<uintptr_t>(memory_.get());
  data_ = static_cast<uint8_t*>(memory_.get()) + (RoundUp(address) - address);
}

AlignedBuffer::AlignedBuffer(const void* data, size_t size) : AlignedBuffer(size) {
  if (size > 0) std::memcpy(data_, data, size);
}

void AlignedBuffer::Free::operator()(void* memory) const { std::free(memory); }

BufferPlan PlanBuffers(const Plan& plan) {
  BufferPlan result;
  result.offset.assign(plan.tensors.size(), BufferPlan::kNotInArena);
  result.survives.assign(plan.tensors.size(), true);

  std::vector<bool> has_own_buffer(plan.tensors.size(), false);
  for (TensorId id : plan.inputs) has_own_buffer[id] = true;
  for (TensorId id : plan.outputs) has_own_buffer[id] = true;

  std::vector<Life> to_place;
  for (const Life& life : FindLives(plan)) {
    const bool in_arena = !has_own_buffer[life.id] && !plan.tensors[life.id].is_constant();
    if (in_arena && life.is_used()) to_place.push_back(life);
    if (in_arena && !life.is_used()) result.survives[life.id] = false;
  }
  // Large tensors first: they fit nowhere else. The identifier makes the order, and so the arena,
  // the same in every process.
  std::sort(to_place.begin(), to_place.end(), [](const Life& a, const Life& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.id < b.id;
  });

  std::vector<Life> placed;
  for (Life& life : to_place) {
    life.offset = FindOffset(life, placed);
    const auto place =
        std::upper_bound(placed.begin(), placed.end(), life,
                         [](const Life& a, const Life& b) { return a.offset < b.offset; });
    placed.insert(place, life);
    result.offset[life.id] = life.offset;
    result.arena_bytes = std::max(result.arena_bytes, life.offset + life.bytes);
  }
  for (const Life& life : placed) {
    for (const Life& later : placed) {
      const bool shares_bytes =
          later.offset < life.offset + life.bytes && life.offset < later.offset + later.bytes;
      if (later.begin > life.end && shares_bytes) result.survives[life.id] = false;
    }
  }
  return result;
}

}  // namespace tdse
