#include "helpers.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "pinning.h"
#include "process_mark.h"
#include "waiting.h"

namespace tdse {
namespace {

// About what it costs to wake a helper (SPIN_US in python/tdse/runtime/plan.py).
constexpr std::chrono::microseconds kSpin{50};

constexpr uint32_t Front(uint64_t ticket) { return ticket >> 16 & 0xFFFF; }
constexpr uint32_t Back(uint64_t ticket) { return ticket & 0xFFFF; }
constexpr uint64_t kOneAtFront = 1 << 16;

// A thread's helpers, as long as it lives.
struct Owner {
  Helpers* helpers = nullptr;
  ProcessMark process;

  // In a forked process they are left as they are: the threads are not there, and who destroys
  // what they slept on waits for them.
  ~Owner() {
    if (!process.IsOfAnotherProcess()) delete helpers;
  }
};

}  // namespace

Helpers& Helpers::OfThisThread() {
  thread_local Owner owner;
  if (owner.process.IsOfAnotherProcess()) {
    owner.helpers = nullptr;
    owner.process = ProcessMark();
  }
  if (owner.helpers == nullptr) owner.helpers = new Helpers;
  return *owner.helpers;
}

Helpers::~Helpers() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stops_ = true;
    rests_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Helpers::Divide(uint32_t threads, uint32_t parts, const Part& run) {
  if (usable_cpus_ == 0) usable_cpus_ = std::max<size_t>(UsableCpus(), 1);
  const size_t helpers = std::min({size_t{threads}, size_t{parts}, usable_cpus_}) - 1;
  if (helpers == 0) {
    for (uint32_t part = 0; part < parts; ++part) run(part);
    return;
  }
  Start(helpers);
  run_ = &run;
  parts_running_.store(parts, std::memory_order_relaxed);
  wanted_.store(helpers, std::memory_order_relaxed);
  rests_.store(false, std::memory_order_relaxed);
  const uint64_t last = ticket_.load(std::memory_order_relaxed);
  // Either this sees a helper that is about to sleep, or that one sees the ticket.
  ticket_.store(((last >> 32) + 1) << 32 | parts, std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst) > 0) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }
    wake_.notify_all();
  }
  while (RunNext(true)) {
  }
  const auto is_over = [this] { return parts_running_.load(std::memory_order_acquire) == 0; };
  while (!SpinUntil(is_over, std::chrono::seconds(1))) {
  }
  if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Helpers::Rest() { rests_.store(true, std::memory_order_relaxed); }

void Helpers::Start(size_t count) {
  while (threads_.size() < count) {
    threads_.emplace_back([this, helper = threads_.size()] { Work(helper); });
  }
}

void Helpers::Work(size_t helper) {
  const auto looks_up = [this, helper] {
    return HasWork(helper) || rests_.load(std::memory_order_relaxed);
  };
  while (true) {
    while (HasWork(helper) && RunNext(false)) {
    }
    SpinUntil(looks_up, kSpin);
    if (HasWork(helper)) continue;
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_.fetch_add(1, std::memory_order_seq_cst);
    wake_.wait(lock, [this, helper] { return stops_ || HasWork(helper); });
    asleep_.fetch_sub(1, std::memory_order_relaxed);
    if (stops_) return;
  }
}

bool Helpers::HasWork(size_t helper) const {
  const uint64_t ticket = ticket_.load(std::memory_order_seq_cst);
  return Front(ticket) < Back(ticket) && helper < wanted_.load(std::memory_order_relaxed);
}

bool Helpers::RunNext(bool first) {
  uint64_t ticket = ticket_.load(std::memory_order_relaxed);
  while (Front(ticket) < Back(ticket)) {
    const uint64_t taken = first ? ticket + kOneAtFront : ticket - 1;
    if (ticket_.compare_exchange_weak(ticket, taken, std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
      RunPart(first ? Front(ticket) : Back(taken));
      return true;
    }
  }
  return false;
}

void Helpers::RunPart(uint32_t part) {
  try {
    (*run_)(part);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (error_ == nullptr) error_ = std::current_exception();
  }
  parts_running_.fetch_sub(1, std::memory_order_acq_rel);
}

}  // namespace tdse
