// What a forked process knows of itself.
#include "process_mark.h"

#include <atomic>
#include <mutex>
#include <string>
#include <thread>

#include "child.h"
#include "testing.h"

namespace tdse {
namespace {

std::string Say(const ProcessMark& mark) { return mark.IsOfAnotherProcess() ? "other" : "own"; }

TEST(AMarkKnowsItsProcess) {
  const ProcessMark mark;
  CHECK_EQUAL(Say(mark), "own");
  CHECK_EQUAL(InChild([&] { return Say(mark); }), "other");
  CHECK_EQUAL(InChild([] { return Say(ProcessMark()); }), "own");
  CHECK_EQUAL(Say(mark), "own");
}

TEST(AMarkKnowsAChildOfAChild) {
  const ProcessMark mark;
  const std::string said = InChild([&] {
    const ProcessMark mark_of_child;
    return InChild([&] { return Say(mark) + " " + Say(mark_of_child) + " " + Say(ProcessMark()); });
  });
  CHECK_EQUAL(said, "other other own");
}

TEST(ForkWaitsForTheMutex) {
  std::atomic<bool> stop{false};
  // Odd only while the mutex is held.
  std::atomic<int> state{0};
  std::thread busy([&] {
    while (!stop) {
      const std::lock_guard<std::mutex> lock(ProcessMutex());
      ++state;
      std::this_thread::yield();
      ++state;
    }
  });
  std::string said = "whole";
  for (int i = 0; i < 20 && said == "whole"; ++i) {
    said = InChild([&] {
      const std::lock_guard<std::mutex> lock(ProcessMutex());
      return std::string(state % 2 == 0 ? "whole" : "half changed");
    });
  }
  stop = true;
  busy.join();
  CHECK_EQUAL(said, "whole");
}

}  // namespace
}  // namespace tdse
