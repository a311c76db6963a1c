#include "buffers.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "region_order.h"

namespace tdse {
namespace {

constexpr size_t RoundUp(size_t size) {
  return (size + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
}

// A call of a kernel, or of a region without steps, which reads and writes in an order of its own.
struct Call {
  uint32_t region;
  uint32_t step;
};

// A tensor's life: from the first call that uses it to the last ones. Where regions run side by
// side there may be several of these, each in another region.
struct Life {
  TensorId id = 0;
  Call first{};
  std::vector<Call> last;
  size_t bytes = 0;
  size_t offset = 0;

  bool is_used() const { return !last.empty(); }
};

class Lives {
 public:
  explicit Lives(const Plan& plan) : order_(plan), lives_(plan.tensors.size()) {
    for (TensorId id = 0; id < lives_.size(); ++id) {
      lives_[id].id = id;
      lives_[id].bytes = RoundUp(plan.tensors[id].size_bytes + kBufferPadding);
    }
    for (uint32_t r = 0; r < plan.regions.size(); ++r) {
      const PlanRegion& region = plan.regions[r];
      // Steps on a device keep what lies between them there: such a region is one call.
      if (region.steps.empty() || region.device().device_type != kDLCPU) {
        for (TensorId id : region.inputs) Use(id, {r, 0});
        for (TensorId id : region.outputs) Use(id, {r, 0});
        continue;
      }
      for (uint32_t s = 0; s < region.steps.size(); ++s) {
        for (TensorId id : region.steps[s].arguments) Use(id, {r, s});
      }
    }
  }

  const std::vector<Life>& all() const { return lives_; }

  bool EndsBefore(const Life& one, const Life& other) const {
    return std::all_of(one.last.begin(), one.last.end(), [&](const Call& call) {
      return call.region == other.first.region ? call.step < other.first.step
                                               : order_.Precedes(call.region, other.first.region);
    });
  }

  bool Overlap(const Life& one, const Life& other) const {
    return !EndsBefore(one, other) && !EndsBefore(other, one);
  }

 private:
  // Calls come in the plan's order, so the first one writes the tensor, or it is not in the arena.
  void Use(TensorId id, Call call) {
    Life& life = lives_[id];
    if (life.last.empty()) life.first = call;
    const auto is_over = [&](const Call& earlier) {
      return earlier.region == call.region || order_.Precedes(earlier.region, call.region);
    };
    life.last.erase(std::remove_if(life.last.begin(), life.last.end(), is_over), life.last.end());
    life.last.push_back(call);
  }

  const RegionOrder order_;
  std::vector<Life> lives_;
};

// The lowest place in the arena where no placed tensor with an overlapping life is.
size_t FindOffset(const Life& life, const Lives& lives, const std::vector<Life>& placed_by_offset) {
  size_t offset = 0;
  for (const Life& other : placed_by_offset) {
    if (!lives.Overlap(life, other)) continue;
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

  const Lives lives(plan);
  std::vector<Life> to_place;
  for (const Life& life : lives.all()) {
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
    life.offset = FindOffset(life, lives, placed);
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
      if (shares_bytes && lives.EndsBefore(life, later)) result.survives[life.id] = false;
    }
  }
  return result;
}

}  // namespace tdse
