#include "kernels_module.h"

#include <tvm/ffi/error.h>
#include <tvm/ffi/reflection/registry.h>

#include <fstream>
#include <string>
#include <utility>

namespace tdse {

namespace ffi = tvm::ffi;

KernelsModule::KernelsModule(ffi::Bytes object, ffi::Module library)
    : object_(std::move(object)), library_(std::move(library)) {}

int KernelsModule::GetPropertyMask() const {
  return ffi::Module::kRunnable | ffi::Module::kCompilationExportable;
}

ffi::Optional<ffi::Function> KernelsModule::GetFunction(const ffi::String& name) {
  return library_->GetFunction(name);
}

void KernelsModule::WriteToFile(const ffi::String& path, const ffi::String&) const {
  std::ofstream file(std::string(path), std::ios::binary);
  file.write(object_.data(), static_cast<std::streamsize>(object_.size()));
  file.close();
  if (!file) TVM_FFI_THROW(RuntimeError) << "the kernels cannot be written to " << path;
}

ffi::Array<ffi::String> KernelsModule::GetWriteFormats() const { return {"o"}; }

TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef().def(
      "tdse.kernels_create", [](const ffi::Bytes& object, const ffi::Module& library) {
        return ffi::Module(ffi::make_object<KernelsModule>(object, library));
      });
}

}  // namespace tdse
