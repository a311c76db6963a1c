// What fork() leaves of a process.
#ifndef TDSE_EXECUTOR_PROCESS_MARK_H_
#define TDSE_EXECUTOR_PROCESS_MARK_H_

#include <cstdint>
#include <mutex>

namespace tdse {

// Remembers the process in which it was made. A forked process has a copy of everything in memory
// but only one thread: what waits for another one, as LiteRT and TVM do, would wait for ever.
class ProcessMark {
 public:
  ProcessMark();

  // Whether this is a process that was forked after the mark was made.
  bool IsOfAnotherProcess() const;

 private:
  uint64_t forks_;
};

// Held while state of the whole process is half changed, never for longer; fork() waits for it, so
// that a forked process finds that state whole and the mutex free.
std::mutex& ProcessMutex();

}  // namespace tdse

#endif  // TDSE_EXECUTOR_PROCESS_MARK_H_
