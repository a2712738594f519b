# libfastkmeans, shared and static, made of every room's objects; its install, fastkmeans.pc and CMake package.
#   fastkmeans::fastkmeans          the shared library (what users link)
#   fastkmeans::fastkmeans_static   the same objects as an archive
# SPDX-License-Identifier: Apache-2.0

get_property(fkm_rooms GLOBAL PROPERTY FKM_ROOMS)
set(fkm_objects "")
foreach(room IN LISTS fkm_rooms)
    list(APPEND fkm_objects $<TARGET_OBJECTS:${room}>)
endforeach()

# Plain names instead of imported targets: they stand as they are in fastkmeans.pc and in the CMake package, which
# therefore look for nothing.
set(fkm_libraries m -pthread)
if(FKM_WITH_ZLIB)
    list(APPEND fkm_libraries z)
endif()

add_library(fastkmeans SHARED ${fkm_objects})
add_library(fastkmeans_static STATIC ${fkm_objects})
foreach(library fastkmeans fastkmeans_static)
    add_library(fastkmeans::${library} ALIAS ${library})
    set_target_properties(${library} PROPERTIES OUTPUT_NAME fastkmeans LINKER_LANGUAGE C)
    target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

set_target_properties(fastkmeans PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0)
target_link_libraries(fastkmeans PRIVATE m Threads::Threads $<$<BOOL:${FKM_WITH_ZLIB}>:ZLIB::ZLIB>)
target_link_libraries(fastkmeans_static INTERFACE ${fkm_libraries})
if(FKM_SANITIZE)
    target_link_options(fastkmeans PRIVATE -fsanitize=${FKM_SANITIZE})
    target_link_options(fastkmeans_static INTERFACE $<BUILD_INTERFACE:-fsanitize=${FKM_SANITIZE}>)
endif()
if(NOT APPLE AND NOT (FKM_SANITIZE AND CMAKE_C_COMPILER_ID MATCHES Clang)) # clang leaves its runtime to the program
    target_link_options(fastkmeans PRIVATE -Wl,--no-undefined)
endif()

if(NOT FKM_INSTALL)
    return()
endif()

include(CMakePackageConfigHelpers)
set(fkm_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fastkmeans)
install(TARGETS fastkmeans fastkmeans_static EXPORT fastkmeansTargets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/fastkmeans DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(EXPORT fastkmeansTargets NAMESPACE fastkmeans:: DESTINATION ${fkm_cmake_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/fastkmeansConfig.cmake.in
    ${PROJECT_BINARY_DIR}/fastkmeansConfig.cmake INSTALL_DESTINATION ${fkm_cmake_dir}
    NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/fastkmeansConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/fastkmeansConfig.cmake ${PROJECT_BINARY_DIR}/fastkmeansConfigVersion.cmake
    DESTINATION ${fkm_cmake_dir})

# The prefix is found from where the file lies, so an installed tree can be moved.
cmake_path(SET fkm_pc_dir NORMALIZE "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig")
cmake_path(RELATIVE_PATH fkm_pc_dir BASE_DIRECTORY /prefix OUTPUT_VARIABLE fkm_pc_down)
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
    set(fkm_pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
    string(REGEX REPLACE "[^/]+" ".." fkm_pc_up ${fkm_pc_down})
    set(fkm_pc_prefix "\${pcfiledir}/${fkm_pc_up}")
endif()
cmake_path(APPEND fkm_pc_libdir "\${prefix}" ${CMAKE_INSTALL_LIBDIR})
cmake_path(APPEND fkm_pc_includedir "\${prefix}" ${CMAKE_INSTALL_INCLUDEDIR})
list(TRANSFORM fkm_libraries REPLACE "^([a-z].*)$" "-l\\1" OUTPUT_VARIABLE fkm_pc_private)
list(JOIN fkm_pc_private " " fkm_pc_private)
configure_file(${CMAKE_CURRENT_LIST_DIR}/fastkmeans.pc.in ${PROJECT_BINARY_DIR}/fastkmeans.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/fastkmeans.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
