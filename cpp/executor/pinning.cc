#include "pinning.h"

#include <stdexcept>
#include <string>
#include <system_error>

namespace tdse {

size_t UsableCpus() {
  cpu_set_t allowed;
  if (pthread_getaffinity_np(pthread_self(), sizeof(allowed), &allowed) != 0) return 1;
  return static_cast<size_t>(CPU_COUNT(&allowed));
}

void PinThread(pthread_t thread, const PlanLane& lane) {
  if (lane.cpus.empty()) return;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  std::string names;
  for (const uint32_t cpu : lane.cpus) {
    CPU_SET(cpu, &cpus);
    names += (names.empty() ? "" : ", ") + std::to_string(cpu);
  }
  const int status = pthread_setaffinity_np(thread, sizeof(cpus), &cpus);
  if (status == 0) return;
  throw std::runtime_error("lane " + lane.name + ": a thread cannot be pinned to CPU " + names +
                           ": " + std::generic_category().message(status));
}

PinnedHere::PinnedHere(const PlanLane& lane) {
  if (lane.cpus.empty()) return;
  if (pthread_getaffinity_np(pthread_self(), sizeof(before_), &before_) != 0) return;
  PinThread(pthread_self(), lane);
  is_pinned_ = true;
}

PinnedHere::~PinnedHere() {
  if (is_pinned_) pthread_setaffinity_np(pthread_self(), sizeof(before_), &before_);
}

}  // namespace tdse
