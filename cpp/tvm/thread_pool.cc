#include "thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "process_mark.h"

namespace tdse {
namespace {

namespace ffi = tvm::ffi;

// threading::ThreadGroup::kSpecifyThreadShareAllCore: every worker may run on every listed core.
// TVM's default pins the workers, and the calling thread with them, so that LiteRT's threads,
// which inherit the pinning, would all share one core.
constexpr int kShareAllCores = -3;

thread_local int current_threads = 1;
// Where the pool of this thread was made, if it was.
thread_local std::optional<ProcessMark> pool_process;

}  // namespace

void UseTvmThreads(int threads) {
  const bool lost_workers = pool_process.has_value() && pool_process->IsOfAnotherProcess();
  if (threads > 1 && lost_workers) {
    throw std::runtime_error(
        "the threads of TVM's kernels were started before this process was forked, and are not in "
        "it; use another thread or process");
  }
  if (threads == current_threads) return;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (pthread_getaffinity_np(pthread_self(), sizeof(allowed), &allowed) != 0) return;
  ffi::Array<ffi::String> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &allowed)) cores.push_back(std::to_string(core));
  }
  const int usable = std::min(threads, static_cast<int>(cores.size()));
  ffi::Function::GetGlobalRequired("runtime.config_threadpool")(kShareAllCores, usable, cores);
  if (!pool_process.has_value()) pool_process.emplace();
  pthread_setaffinity_np(pthread_self(), sizeof(allowed), &allowed);
  current_threads = threads;
}

}  // namespace tdse
