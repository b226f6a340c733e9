#version 330 core
// Normals in the eye's frame as colours, the usual way: red right, green up, blue towards the viewer.

in vec3 eye_normal;

out vec4 colour;

void main() {
    vec3 normal = normalize(eye_normal) * vec3(1.0, -1.0, -1.0);
    colour = vec4(normal * 0.5 + 0.5, 1.0);
}
