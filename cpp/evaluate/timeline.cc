#include "timeline.h"

#include <algorithm>
#include <cmath>

namespace tdse::evaluate {
namespace {

// Running regions are looked through by so many.
constexpr int32_t kAtOnce = 4;

}  // namespace

Timeline::Timeline(const Problem& problem)
    : problem_(problem),
      devices_(problem.n_devices),
      ready_(problem.n_devices, Heap(problem.n_ops)),
      released_(problem.n_ops),
      touched_(problem.n_devices + 1),
      running_(problem.n_ops + kAtOnce),
      running_end_us_(problem.n_ops + kAtOnce, INFINITY),
      live_bytes_(problem.n_memories),
      peak_bytes_(problem.n_memories),
      copies_(problem.n_memories),
      bus_free_us_(problem.n_buses),
      bus_load_us_(static_cast<size_t>(problem.n_buses) * problem.n_models),
      latency_us_(problem.n_models),
      transfers_(static_cast<size_t>(problem.n_values) * problem.n_memories) {
  finished_.reserve(problem.n_ops);
}

void Timeline::Run(Placed* placed, bool strict, bool counts_memory) {
  placed_ = placed;
  strict_ = strict;
  counts_memory_ = counts_memory;
  Begin();
  double now_us = 0.0, end_us = INFINITY;
  while (true) {
    // What arrives where no core is free changes nothing else.
    if (n_touched_ > 0) {
      for (int32_t i = 0; i < n_touched_; ++i) StartOn(touched_[i], now_us);
      n_touched_ = 0;
      if (problem_.has_slowdown) Rate(now_us);
      end_us = NextEnd();
    }
    const double arrival_us = released_.empty() ? INFINITY : released_.top().key;
    now_us = std::min(end_us, arrival_us);
    if (std::isinf(now_us)) break;
    if (end_us <= arrival_us) CompleteAll(now_us);
    while (!released_.empty() && released_.top().key <= now_us) {
      MakeReady(released_.top().region);
      released_.Pop();
    }
  }
  for (int32_t model = 0; model < problem_.n_models; ++model) {
    const double arrival_us = placed_->region(placed_->caller(model)).arrival_us;
    latency_us_[model] = std::max(latency_us_[model], arrival_us);
  }
}

// The inputs are there, and what needs no others is ready.
void Timeline::Begin() {
  n_touched_ = n_running_ = n_transfers_ = n_without_link_ = 0;
  std::fill(copies_.begin(), copies_.end(), Copy{-1, 0.0});
  std::fill(live_bytes_.begin(), live_bytes_.end(), 0);
  std::fill(bus_free_us_.begin(), bus_free_us_.end(), 0.0);
  std::fill(bus_load_us_.begin(), bus_load_us_.end(), 0.0);
  std::fill(latency_us_.begin(), latency_us_.end(), 0.0);
  for (int32_t device = 0; device < problem_.n_devices; ++device) {
    devices_[device] = {problem_.device_cores[device], 0, 0, false};
    if (counts_memory_) {
      live_bytes_[problem_.device_memory[device]] += placed_->parameter_bytes(device);
    }
  }
  std::copy(live_bytes_.begin(), live_bytes_.end(), peak_bytes_.begin());
  const Region& caller = placed_->region(placed_->caller(0));
  Take(caller.memory, caller.leaving_bytes);
  for (int32_t index = 0; index < placed_->n_regions(); ++index) {
    if (!placed_->region(index).waiting) MakeReady(index);
  }
  HandOver(caller, 0.0);
}

void Timeline::StartOn(int32_t index, double now_us) {
  Heap& ready = ready_[index];
  Device& device = devices_[index];
  device.is_touched = false;
  while (!ready.empty()) {
    const int32_t next = ready.top().region;
    Region& region = placed_->region(next);
    if (region.cores > device.free_cores) return;
    if (strict_ && region.position != device.n_started) return;
    ready.Pop();
    ++device.n_started;
    ++device.n_running;
    device.free_cores -= region.cores;
    region.start_us = now_us;
    region.end_us = now_us + region.work_us;
    region.slower = 1.0;
    running_[n_running_] = next;
    running_end_us_[n_running_++] = region.end_us;
    Take(region.memory, region.leaving_bytes + region.inner_bytes);
  }
}

// Moves the ends of running regions that are slowed down otherwise than before.
void Timeline::Rate(double now_us) {
  for (int32_t i = 0; i < n_running_; ++i) {
    Region& region = placed_->region(running_[i]);
    const double* const slowdown = &problem_.slowdown[region.device * problem_.n_devices];
    double factor = 1.0;
    for (int32_t other = 0; other < problem_.n_devices; ++other) {
      factor += (slowdown[other] - 1.0) * (devices_[other].n_running - (other == region.device));
    }
    if (factor == region.slower) continue;
    const double left_us = (region.end_us - now_us) / region.slower;
    running_end_us_[i] = region.end_us = now_us + left_us * factor;
    region.slower = factor;
  }
}

// When the next running region ends. What is above `n_running_` never does, so that the number of
// steps is almost always the same.
double Timeline::NextEnd() const {
  double end_us = INFINITY;
  for (int32_t i = 0; i < n_running_; i += kAtOnce) {
    for (int32_t j = i; j < i + kAtOnce; ++j) end_us = std::min(end_us, running_end_us_[j]);
  }
  return end_us;
}

// Completes the regions that end now, the lowest first.
void Timeline::CompleteAll(double now_us) {
  int32_t n_finished = 0, last = 0;
  for (int32_t i = 0; i < n_running_; i += kAtOnce) {
    for (int32_t j = i; j < i + kAtOnce; ++j) {
      const bool is_finished = running_end_us_[j] <= now_us;
      n_finished += is_finished;
      last = is_finished ? j : last;
    }
  }
  if (n_finished == 1) {
    Complete(TakeRunning(last), now_us);
    return;
  }
  finished_.clear();
  for (int32_t i = n_running_ - 1; i >= 0; --i) {
    if (running_end_us_[i] <= now_us) finished_.push_back(TakeRunning(i));
  }
  std::sort(finished_.begin(), finished_.end());
  for (const int32_t index : finished_) Complete(index, now_us);
}

int32_t Timeline::TakeRunning(int32_t place) {
  const int32_t region = running_[place];
  running_[place] = running_[--n_running_];
  running_end_us_[place] = running_end_us_[n_running_];
  running_end_us_[n_running_] = INFINITY;
  return region;
}

void Timeline::Complete(int32_t index, double now_us) {
  const Region& region = placed_->region(index);
  Device& device = devices_[region.device];
  device.free_cores += region.cores;
  --device.n_running;
  Touch(region.device);
  latency_us_[region.model] = std::max(latency_us_[region.model], now_us);
  HandOver(region, now_us);
  if (counts_memory_) Release(region);
}

// Gives what a region has just made to all that read it.
void Timeline::HandOver(const Region& home, double now_us) {
  for (int32_t d = home.first_made; d >= 0; d = placed_->delivery(d).next_made) {
    const Delivery& delivery = placed_->delivery(d);
    Region& region = placed_->region(delivery.region);
    // The deliveries of a value follow each other.
    Copy& copy = copies_[region.memory];
    if (copy.value != delivery.value) {
      copy.value = delivery.value;
      copy.there_us = region.memory == home.memory ? now_us : Carry(d, now_us);
    }
    region.arrival_us = std::max(region.arrival_us, copy.there_us);
    if (--region.waiting || delivery.region >= placed_->n_regions()) continue;
    if (region.arrival_us <= now_us) {
      MakeReady(delivery.region);
    } else {
      released_.Push(region.arrival_us, delivery.region);
    }
  }
}

// Carries a value to a memory in which it is not yet; returns when it is there.
double Timeline::Carry(int32_t index, double now_us) {
  const Delivery& delivery = placed_->delivery(index);
  const Region& target = placed_->region(delivery.region);
  const int32_t bus = delivery.way->bus;
  double start_us = now_us;
  n_without_link_ += delivery.way->is_missing;
  if (bus >= 0) {
    start_us = std::max(now_us, bus_free_us_[bus]);
    bus_free_us_[bus] = start_us + delivery.carry_us;
    bus_load_us_[bus * problem_.n_models + target.model] += delivery.carry_us;
  }
  transfers_[n_transfers_].start_us = start_us;
  transfers_[n_transfers_++].delivery = index;
  Take(target.memory, problem_.value_bytes[delivery.value]);
  return start_us + delivery.carry_us;
}

Transfer Timeline::transfer(int32_t index) const {
  const Carried& carried = transfers_[index];
  const Delivery& delivery = placed_->delivery(carried.delivery);
  return {delivery.value, placed_->region(delivery.home).memory,
          placed_->region(delivery.region).memory, carried.start_us,
          carried.start_us + delivery.carry_us};
}

// Gives back what a region that is done took or read.
void Timeline::Release(const Region& region) {
  live_bytes_[region.memory] -= region.inner_bytes;
  for (int32_t d = region.first_read; d >= 0; d = placed_->delivery(d).next_read) {
    const int32_t read = placed_->delivery(d).leaving;
    Leaving& leaving = placed_->leaving(read);
    const int32_t home = placed_->region(leaving.home).memory;
    live_bytes_[region.memory] -=
        leaving.size_bytes * (--placed_->n_left(read, region.memory) == 0);
    live_bytes_[home] -= leaving.size_bytes * (--leaving.n_left == 0);
  }
}

}  // namespace tdse::evaluate
