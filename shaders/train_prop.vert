#version 330
// Hair, glasses, clothes, hands and objects of the synthetic face engine; units mm, camera frame.
uniform mat4 view;
in vec3 position; in vec3 normal; in vec2 uv;
out vec3 at; out vec3 facing; out vec2 v_uv;
void main() { at = position; facing = normal; v_uv = uv; gl_Position = view * vec4(position, 1.0); }
