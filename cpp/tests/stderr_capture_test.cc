// What is printed on standard error during a capture, and what of it after one.
#include "stderr_capture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "testing.h"

namespace tdse {
namespace {

// What arrives on standard error while `work` runs.
std::string Printed(const std::function<void()>& work) {
  std::fflush(stderr);
  const int file = memfd_create("test-stderr", MFD_CLOEXEC);
  const int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
  CHECK(file >= 0 && before >= 0);
  dup2(file, STDERR_FILENO);
  work();
  std::fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  std::string text(static_cast<size_t>(lseek(file, 0, SEEK_END)), '\0');
  CHECK_EQUAL(pread(file, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  close(file);
  return text;
}

void Say(const std::string& text) { std::fputs(text.c_str(), stderr); }

int LowestFreeFile() {
  const int file = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
  close(file);
  return file;
}

TEST(CapturesErrorsAndDropsChatter) {
  std::string errors;
  const std::string printed = Printed([&] {
    StderrCapture capture;
    Say("INFO: a delegate was made\nERROR: no such operator\nVERBOSE: x\nsomething else\n");
    Say("WARNING: y\nDEBUG: z\nERROR: node 3");
    errors = capture.Errors();
    Say("INFO: after the end\n");
  });
  CHECK_EQUAL(errors, "no such operator; node 3");
  CHECK_EQUAL(printed, "something else\nINFO: after the end\n");
}

TEST(CapturesMoreThanOneBuffer) {
  const std::string line(10000, 'x');
  std::string errors;
  const std::string printed = Printed([&] {
    StderrCapture capture;
    for (int i = 0; i < 10; ++i) Say("ERROR: " + line + "\n" + line + "\n");
    errors = capture.Errors();
  });
  CHECK_EQUAL(errors.size(), 10 * line.size() + 9 * 2);
  CHECK_EQUAL(printed.size(), 10 * (line.size() + 1));
}

TEST(PrintsWhatOthersSaidWhenNobodyAsks) {
  CHECK_EQUAL(Printed([] {
                StderrCapture capture;
                Say("INFO: chatter\nof another thread\n");
              }),
              "of another thread\n");
}

TEST(CapturesLeaveNoFileOpen) {
  const int before = LowestFreeFile();
  const std::string printed = Printed([] {
    for (int i = 0; i < 100; ++i) {
      StderrCapture capture;
      Say("ERROR: x\n");
      CHECK_EQUAL(capture.Errors(), "x");
      CHECK_EQUAL(capture.Errors(), "x");
    }
  });
  CHECK_EQUAL(printed, "");
  CHECK_EQUAL(LowestFreeFile(), before);
}

TEST(NothingIsCapturedWithoutStandardError) {
  const int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
  CHECK(before >= 0);
  close(STDERR_FILENO);
  std::string errors;
  {
    StderrCapture capture;
    Say("ERROR: nobody hears it\n");
    errors = capture.Errors();
  }
  const bool still_closed = fcntl(STDERR_FILENO, F_GETFD) < 0;
  dup2(before, STDERR_FILENO);
  close(before);
  CHECK_EQUAL(errors, "");
  CHECK(still_closed);
}

TEST(CapturesOfSeveralThreadsDoNotMix) {
  std::atomic<int> wrong{0};
  const std::string printed = Printed([&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([i, &wrong] {
        for (int k = 0; k < 50; ++k) {
          StderrCapture capture;
          const std::string name = std::to_string(i) + "/" + std::to_string(k);
          Say("ERROR: " + name + "\n");
          if (capture.Errors() != name) ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  CHECK_EQUAL(wrong.load(), 0);
  CHECK_EQUAL(printed, "");
}

}  // namespace
}  // namespace tdse
