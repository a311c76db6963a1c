// Memory of an executor: where each tensor of a plan lives.
#ifndef TDSE_EXECUTOR_BUFFERS_H_
#define TDSE_EXECUTOR_BUFFERS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "plan.h"

namespace tdse {

// Every buffer starts at a multiple of this many bytes: LiteRT refuses host buffers that do not,
// and TVM's kernels assume it.
constexpr size_t kBufferAlignment = 64;

// Bytes that may be read after the end of a buffer: XNNPACK's kernels load whole vectors.
constexpr size_t kBufferPadding = 64;

// Zeroed memory at a multiple of kBufferAlignment, with kBufferPadding readable bytes after it.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Throws std::runtime_error if there is not enough memory.
  explicit AlignedBuffer(size_t size);
  // A copy of [data, data + size).
  AlignedBuffer(const void* data, size_t size);

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(void* memory) const;
  };
  std::unique_ptr<void, Free> memory_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Where the tensors of a plan live.
//
// Model inputs and outputs have memory of their own, constants stay where the plan has them, and
// all other tensors share an arena: two of them overlap only if one is read for the last time
// before the other is written, whichever regions run side by side.
struct BufferPlan {
  // Offset from the start of the arena, or kNotInArena.
  std::vector<size_t> offset;
  size_t arena_bytes = 0;
  // Whether the value is still there when a run has ended.
  std::vector<bool> survives;

  static constexpr size_t kNotInArena = SIZE_MAX;
};

BufferPlan PlanBuffers(const Plan& plan);

}  // namespace tdse

#endif  // TDSE_EXECUTOR_BUFFERS_H_
