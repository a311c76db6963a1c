#include <cstdio>
#include <exception>
#include <vector>

#include "testing.h"

namespace tdse::testing {
namespace {

struct Test {
  const char* name;
  void (*run)();
};

std::vector<Test>& Tests() {
  static std::vector<Test> tests;
  return tests;
}

// Whether the test did not fail.
bool Run(const Test& test) {
  try {
    test.run();
    std::printf("passed   %s\n", test.name);
    return true;
  } catch (const Skipped& skipped) {
    std::printf("skipped  %s: %s\n", test.name, skipped.reason.c_str());
    return true;
  } catch (const Failure& failure) {
    std::printf("FAILED   %s: %s\n", test.name, failure.message.c_str());
  } catch (const std::exception& error) {
    std::printf("FAILED   %s: unexpected error: %s\n", test.name, error.what());
  }
  return false;
}

int RunAll(const std::string& part_of_name) {
  int run = 0;
  int failed = 0;
  for (const Test& test : Tests()) {
    if (std::string(test.name).find(part_of_name) == std::string::npos) continue;
    ++run;
    if (!Run(test)) ++failed;
    std::fflush(stdout);
  }
  std::printf("%d tests, %d failed\n", run, failed);
  return run > 0 && failed == 0 ? 0 : 1;
}

}  // namespace

bool Register(const char* name, void (*run)()) {
  Tests().push_back({name, run});
  return true;
}

}  // namespace tdse::testing

// Read by AddressSanitizer and ThreadSanitizer where the program is built with them. That buffers
// which are too large are refused is tested, and so not an error by itself.
#define SANITIZER_OPTIONS extern "C" __attribute__((visibility("default"))) const char*
SANITIZER_OPTIONS __asan_default_options() { return "allocator_may_return_null=1"; }
SANITIZER_OPTIONS __tsan_default_options() { return "allocator_may_return_null=1"; }

int main(int count, char** arguments) {
  return tdse::testing::RunAll(count > 1 ? arguments[1] : "");
}
