// What the functions of tdse's modules have in common: how they are found and what they are given.
#ifndef TDSE_TVM_FUNCTIONS_H_
#define TDSE_TVM_FUNCTIONS_H_

#include <tvm/ffi/cast.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/object.h>

#include <vector>

#include "plan.h"

namespace tdse {

// Throws std::runtime_error for another number of arguments.
void RequireCount(tvm::ffi::PackedArgs args, size_t count, const char* function);

// Addresses (int) among the arguments, from `first` on.
std::vector<const void*> InputsOf(const Plan& plan, tvm::ffi::PackedArgs args, int first);
std::vector<void*> OutputsOf(const Plan& plan, tvm::ffi::PackedArgs args, int first);

// A function of a module, which keeps the module alive. Any std::exception becomes a RuntimeError.
template <typename Module>
tvm::ffi::Function FunctionOf(Module* module, void (Module::*method)(tvm::ffi::PackedArgs args,
                                                                     tvm::ffi::Any* result)) {
  tvm::ffi::ObjectPtr<tvm::ffi::Object> owner = tvm::ffi::GetObjectPtr<tvm::ffi::Object>(module);
  return tvm::ffi::Function::FromPacked(
      [owner, module, method](tvm::ffi::PackedArgs args, tvm::ffi::Any* result) {
        try {
          (module->*method)(args, result);
        } catch (const tvm::ffi::Error&) {
          throw;
        } catch (const std::exception& error) {
          TVM_FFI_THROW(RuntimeError) << error.what();
        }
      });
}

}  // namespace tdse

#endif  // TDSE_TVM_FUNCTIONS_H_
