// On which CPUs threads run.
#ifndef TDSE_EXECUTOR_PINNING_H_
#define TDSE_EXECUTOR_PINNING_H_

#include <pthread.h>
#include <sched.h>

#include <cstddef>

#include "plan.h"

namespace tdse {

// On how many CPUs the calling thread may run; 1 if that is not known.
size_t UsableCpus();

// Lets a thread run on the lane's CPUs only, if the lane names any. Throws std::runtime_error
// "lane ...: " if the system refuses.
void PinThread(pthread_t thread, const PlanLane& lane);

// Pins the calling thread as long as the object lives, so that threads which are started meanwhile
// inherit it.
class PinnedHere {
 public:
  explicit PinnedHere(const PlanLane& lane);
  ~PinnedHere();
  PinnedHere(const PinnedHere&) = delete;
  PinnedHere& operator=(const PinnedHere&) = delete;

 private:
  bool is_pinned_ = false;
  cpu_set_t before_;
};

}  // namespace tdse

#endif  // TDSE_EXECUTOR_PINNING_H_
