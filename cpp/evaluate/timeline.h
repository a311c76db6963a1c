// One run of a placement: when each region and each transfer begins and ends.
// python/tdse/search/timeline.py is the specification.
#ifndef TDSE_EVALUATE_TIMELINE_H_
#define TDSE_EVALUATE_TIMELINE_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "heap.h"
#include "placed.h"
#include "problem.h"

namespace tdse::evaluate {

struct Transfer {
  int32_t value, source, target;
  double start_us, end_us;
};

// Devices and buses over time, in memory that is allocated once.
class Timeline {
 public:
  explicit Timeline(const Problem& problem);

  // Runs all regions, and tells them when. `counts_memory`: also what is in the memories.
  void Run(Placed* placed, bool strict, bool counts_memory);

  const std::vector<double>& latency_us() const { return latency_us_; }
  // Of the last run that counted memory.
  const std::vector<int64_t>& peak_bytes() const { return peak_bytes_; }
  // Microseconds of each bus for each model, row-major.
  const std::vector<double>& bus_load_us() const { return bus_load_us_; }
  int32_t n_transfers() const { return n_transfers_; }
  Transfer transfer(int32_t index) const;
  int32_t n_without_link() const { return n_without_link_; }

 private:
  struct Carried {
    double start_us;
    int32_t delivery;  // the first of this value to this memory
  };
  struct Copy {
    int32_t value;
    double there_us;
  };
  struct Device {
    int32_t free_cores, n_started, n_running;
    bool is_touched;  // it is among `touched_`
  };

  void Begin();
  void MakeReady(int32_t index) {
    const Region& region = placed_->region(index);
    ready_[region.device].Push(region.key, index);
    Touch(region.device);
  }

  // A device that has something to start and a core that is free.
  void Touch(int32_t index) {
    Device& device = devices_[index];
    touched_[n_touched_] = index;
    const bool is_new = !device.is_touched & (device.free_cores > 0);
    n_touched_ += is_new;
    device.is_touched |= is_new;
  }

  void StartOn(int32_t device, double now_us);
  void Rate(double now_us);
  double NextEnd() const;
  void CompleteAll(double now_us);
  int32_t TakeRunning(int32_t place);
  void Complete(int32_t region, double now_us);
  void HandOver(const Region& home, double now_us);
  double Carry(int32_t delivery, double now_us);
  void Release(const Region& region);
  void Take(int32_t memory, int64_t size_bytes) {
    if (!counts_memory_) return;
    const int64_t live_bytes = live_bytes_[memory] += size_bytes;
    peak_bytes_[memory] = std::max(peak_bytes_[memory], live_bytes);
  }

  const Problem& problem_;
  Placed* placed_ = nullptr;
  bool strict_ = false, counts_memory_ = false;

  std::vector<Device> devices_;
  std::vector<Heap> ready_;       // by device
  Heap released_;                 // regions that wait for a transfer, by when it is there
  std::vector<int32_t> touched_;  // devices that may have something to start
  std::vector<int32_t> running_;  // regions
  std::vector<double> running_end_us_;
  std::vector<int32_t> finished_;
  std::vector<int64_t> live_bytes_, peak_bytes_;  // by memory
  std::vector<Copy> copies_;                      // by memory: of the value that came there last
  std::vector<double> bus_free_us_, bus_load_us_;
  std::vector<double> latency_us_;  // by model
  std::vector<Carried> transfers_;
  int32_t n_touched_ = 0, n_running_ = 0, n_transfers_ = 0, n_without_link_ = 0;
};

}  // namespace tdse::evaluate

#endif  // TDSE_EVALUATE_TIMELINE_H_
