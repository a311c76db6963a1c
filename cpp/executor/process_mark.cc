#include "process_mark.h"

#include <pthread.h>

#include <atomic>

namespace tdse {
namespace {

struct Process {
  std::mutex mutex;
  // Forks between the first process and this one.
  std::atomic<uint64_t> forks{0};
};

// Never destroyed: a process may fork while its static objects go.
Process& GetProcess() {
  static Process* process = [] {
    pthread_atfork([] { GetProcess().mutex.lock(); }, [] { GetProcess().mutex.unlock(); },
                   [] {
                     ++GetProcess().forks;
                     GetProcess().mutex.unlock();
                   });
    return new Process;
  }();
  return *process;
}

}  // namespace

ProcessMark::ProcessMark() : forks_(GetProcess().forks) {}

bool ProcessMark::IsOfAnotherProcess() const { return forks_ != GetProcess().forks; }

std::mutex& ProcessMutex() { return GetProcess().mutex; }

}  // namespace tdse
