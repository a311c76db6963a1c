# find_package(tdse CONFIG) gives the target tdse::runtime: libtdse_runtime.so and its C header,
# tdse/executor.h. `python -m tdse.config --cmakedir` prints where this file is.
get_filename_component(tdse_package_directory "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
if(NOT TARGET tdse::runtime)
  add_library(tdse::runtime SHARED IMPORTED)
  set_target_properties(tdse::runtime PROPERTIES
    IMPORTED_LOCATION "${tdse_package_directory}/lib/libtdse_runtime.so"
    INTERFACE_INCLUDE_DIRECTORIES "${tdse_package_directory}/include")
endif()
