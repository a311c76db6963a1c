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
    if (std::isinf(now_us)) return;
    if (end_us <= arrival_us) CompleteAll(now_us);
    while (!released_.empty() && released_.top().key <= now_us) {
      MakeReady(released_.top().region);
      released_.Pop();
    }
  }
}

// The inputs are there, and what needs no others is ready.
void Timeline::Begin() {
  n_touched_ = n_running_ = n_transfers_ = n_without_link_ = 0;
  std::fill(live_bytes_.begin(), live_bytes_.end(), 0);
  std::fill(bus_free_us_.begin(), bus_free_us_.end(), 0.0);
  std::fill(bus_load_us_.begin(), bus_load_us_.end(), 0.0);
  std::fill(latency_us_.begin(), latency_us_.end(), 0.0);
  for (int32_t device = 0; device < problem_.n_devices; ++device) {
    devices_[device] = {problem_.device_cores[device], 0, 0, false};
    live_bytes_[problem_.device_memory[device]] += placed_->parameter_bytes(device);
  }
  std::copy(live_bytes_.begin(), live_bytes_.end(), peak_bytes_.begin());
  const Region& caller = placed_->region(placed_->n_regions());
  Take(caller.memory, caller.leaving_bytes);
  for (int32_t index = 0; index < placed_->n_regions(); ++index) {
    if (!placed_->region(index).waiting) MakeReady(index);
  }
  for (int32_t made = caller.first_made; made >= 0; made = placed_->leaving(made).next_made) {
    HandOver(made, 0.0);
  }
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
  for (int32_t made = region.first_made; made >= 0; made = placed_->leaving(made).next_made) {
    HandOver(made, now_us);
  }
  if (counts_memory_) Release(region);
}

// Gives back what a region that is done took or read.
void Timeline::Release(const Region& region) {
  const int32_t memory = region.memory;
  live_bytes_[memory] -= region.inner_bytes;
  for (int32_t r = region.first_reading; r >= 0; r = placed_->reading(r).next) {
    const int32_t read = placed_->reading(r).leaving;
    Leaving& leaving = placed_->leaving(read);
    live_bytes_[memory] -= leaving.size_bytes * (--placed_->n_left(read, memory) == 0);
    live_bytes_[leaving.memory] -= leaving.size_bytes * (--leaving.n_left == 0);
  }
}

// Gives a value that was just made to all that read it.
void Timeline::HandOver(int32_t made, double now_us) {
  const Leaving& leaving = placed_->leaving(made);
  placed_->there_us(made, leaving.memory) = now_us;
  for (int32_t r = leaving.reading_begin; r < leaving.reading_end; ++r) {
    const int32_t index = placed_->reading(r).region;
    Region& region = placed_->region(index);
    double there_us = placed_->there_us(made, region.memory);
    if (there_us < 0.0) there_us = Carry(made, region.memory, region.model, now_us);
    region.arrival_us = std::max(region.arrival_us, there_us);
    if (--region.waiting) continue;
    if (region.arrival_us <= now_us) {
      MakeReady(index);
    } else {
      released_.Push(region.arrival_us, index);
    }
  }
  if (leaving.is_output) {
    const int32_t model = placed_->region(leaving.home).model;
    double there_us = placed_->there_us(made, problem_.host_memory);
    if (there_us < 0.0) there_us = Carry(made, problem_.host_memory, model, now_us);
    latency_us_[model] = std::max(latency_us_[model], there_us);
  }
}

// Carries a value to another memory; returns when it is there.
double Timeline::Carry(int32_t made, int32_t target, int32_t model, double now_us) {
  const Leaving& leaving = placed_->leaving(made);
  const Way& way = problem_.ways[leaving.memory * problem_.n_memories + target];
  const double carry_us = way.time.Of(leaving.size_bytes);
  double start_us = now_us;
  n_without_link_ += way.is_missing;
  if (way.bus >= 0) {
    start_us = std::max(now_us, bus_free_us_[way.bus]);
    bus_free_us_[way.bus] = start_us + carry_us;
    bus_load_us_[way.bus * problem_.n_models + model] += carry_us;
  }
  const double there_us = start_us + carry_us;
  placed_->there_us(made, target) = there_us;
  // In place: one that is put together elsewhere and then copied takes the processor long.
  Transfer& transfer = transfers_[n_transfers_++];
  transfer.value = leaving.value;
  transfer.source = leaving.memory;
  transfer.target = target;
  transfer.start_us = start_us;
  transfer.end_us = there_us;
  Take(target, leaving.size_bytes);
  return there_us;
}

}  // namespace tdse::evaluate
