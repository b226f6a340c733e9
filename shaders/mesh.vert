#version 330 core
// One mesh vertex: camera millimetres to clip space; normals to the eye's frame (x right, y down, z forward).

uniform mat4 view;
uniform mat4 projection;
uniform vec2 uv_scale;  // the texture fills only this share of its allocated store
uniform vec2 uv_limit;  // half a texel: sampling never leaves the filled part

in vec3 in_position;
in vec3 in_normal;
in vec2 in_uv;

out vec3 eye_position;
out vec3 eye_normal;
out vec2 uv;

void main() {
    vec4 eye = view * vec4(in_position, 1.0);
    eye_position = eye.xyz;
    eye_normal = mat3(view) * in_normal;
    uv = clamp(in_uv, uv_limit, 1.0 - uv_limit) * uv_scale;
    gl_Position = projection * eye;
}
