# The program `verify`, over the addon's own object files: included by CMakeLists.txt, where SOUNDSPOT_VERIFY is on.
if(NOT SOUNDSPOT_VARIANT STREQUAL "cuda")
  message(FATAL_ERROR "SOUNDSPOT_VERIFY needs SOUNDSPOT_VARIANT=cuda.")
endif()
file(GLOB VERIFY_SOURCES CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/*.cc")
add_executable(verify ${VERIFY_SOURCES} ${KERNEL_OBJECTS}
  "$<FILTER:$<TARGET_OBJECTS:soundspot_sources>,EXCLUDE,/native/addon[.]cc|/native/binding/>")
# All that the sources need but the sources themselves: those of the addon need Node.js.
target_compile_definitions(verify PRIVATE $<TARGET_PROPERTY:soundspot_sources,INTERFACE_COMPILE_DEFINITIONS>)
target_compile_options(verify PRIVATE $<TARGET_PROPERTY:soundspot_sources,INTERFACE_COMPILE_OPTIONS>)
target_include_directories(verify PRIVATE "${CMAKE_CURRENT_LIST_DIR}/.."
  $<TARGET_PROPERTY:soundspot_sources,INTERFACE_INCLUDE_DIRECTORIES>)
target_include_directories(verify SYSTEM PRIVATE
  $<TARGET_PROPERTY:soundspot_sources,INTERFACE_SYSTEM_INCLUDE_DIRECTORIES>)
target_link_libraries(verify PRIVATE $<TARGET_PROPERTY:soundspot_sources,INTERFACE_LINK_LIBRARIES>)
target_precompile_headers(verify PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/native/core/torch.h")
set_target_properties(verify PROPERTIES LINKER_LANGUAGE CXX)
foreach(CONFIGURATION "" _RELEASE _DEBUG)
  set_target_properties(verify PROPERTIES RUNTIME_OUTPUT_DIRECTORY${CONFIGURATION} "${CMAKE_BINARY_DIR}")
endforeach()
