// Work that is divided among threads.
#include "helpers.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "child.h"
#include "pinning.h"
#include "testing.h"

namespace tdse {
namespace {

// Divides work of so many parts again and again; whether each part was run once each time.
bool RunsEachPartOnce(Helpers* helpers, uint32_t threads, uint32_t parts, int times) {
  std::vector<std::atomic<int>> runs(parts);
  for (int i = 1; i <= times; ++i) {
    helpers->Divide(threads, parts, [&](uint32_t part) { ++runs[part]; });
    for (const std::atomic<int>& count : runs) {
      if (count != i) return false;
    }
  }
  return true;
}

TEST(EachPartRunsOnce) {
  Helpers helpers;
  for (const uint32_t threads : {1u, 2u, 4u}) {
    for (const uint32_t parts : {1u, 2u, 3u, 17u}) {
      CHECK(RunsEachPartOnce(&helpers, threads, parts, 500));
    }
  }
}

TEST(HelpersThatSleepAreWoken) {
  Helpers helpers;
  for (int i = 0; i < 200; ++i) {
    CHECK(RunsEachPartOnce(&helpers, 2, 4, 1));
    helpers.Rest();
    // Sometimes asleep, sometimes about to be.
    std::this_thread::sleep_for(std::chrono::microseconds(i % 4 * 50));
  }
}

TEST(AnotherThreadTakesParts) {
  if (UsableCpus() < 2) testing::Skip("there is one CPU");
  Helpers helpers;
  std::atomic<int> inside{0};
  // Each part waits for the other, so both end only if two threads run them.
  helpers.Divide(2, 2, [&](uint32_t) {
    ++inside;
    while (inside < 2) std::this_thread::yield();
  });
  CHECK_EQUAL(inside.load(), 2);
}

TEST(AnErrorOfAPartComesWhenAllAreOver) {
  Helpers helpers;
  std::atomic<int> ended{0};
  const auto run = [&](uint32_t part) {
    if (part == 1) throw std::runtime_error("part one");
    ++ended;
  };
  for (int i = 0; i < 100; ++i) {
    ended = 0;
    CHECK_THROWS("part one", helpers.Divide(2, 6, run));
    if (UsableCpus() > 1) CHECK_EQUAL(ended.load(), 5);
  }
  CHECK(RunsEachPartOnce(&helpers, 2, 6, 10));
}

TEST(AThreadHasItsOwnHelpers) {
  const Helpers* here = &Helpers::OfThisThread();
  CHECK(&Helpers::OfThisThread() == here);
  std::set<const Helpers*> there;
  for (int i = 0; i < 2; ++i) {
    std::thread([&] {
      there.insert(&Helpers::OfThisThread());
      CHECK(RunsEachPartOnce(&Helpers::OfThisThread(), 2, 4, 10));
    }).join();
  }
  CHECK_EQUAL(there.count(here), 0u);
}

TEST(AForkedProcessStartsItsOwn) {
#ifdef __SANITIZE_THREAD__
  testing::Skip("ThreadSanitizer does not let a forked process start threads");
#endif
  CHECK(RunsEachPartOnce(&Helpers::OfThisThread(), 2, 4, 10));
  const std::string said = InChild([] {
    const bool is_right = RunsEachPartOnce(&Helpers::OfThisThread(), 2, 4, 10);
    return std::string(is_right ? "right" : "wrong");
  });
  CHECK_EQUAL(said, "right");
  CHECK(RunsEachPartOnce(&Helpers::OfThisThread(), 2, 4, 10));
}

}  // namespace
}  // namespace tdse
